//! What a client is told when an invocation comes to nothing.

use std::fmt::Display;

use assetmesh_node::staging;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::ApiError;
use crate::invocation::fault::Fault;

/// Seconds after which a place may be free.
const SOON: HeaderValue = HeaderValue::from_static("2");

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let sentence = fault.to_string();
        match fault {
            Fault::UnknownFunction { .. } | Fault::UnknownRequest(_) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
            }
            Fault::Asked(_) => Self::bad_request("bad_request", sentence),
            Fault::Staging(error) => of_staging(error, sentence),
            Fault::Unreachable(cause) | Fault::Broken(cause) => {
                Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", sentence).because(cause)
            }
            Fault::Timeout(_) | Fault::StagingTimeout(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "gateway_timeout", sentence)
            }
            Fault::ManyWaiting(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", sentence)
                .with(RETRY_AFTER, SOON),
            Fault::Stopping => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", sentence).with(RETRY_AFTER, SOON)
            }
        }
    }
}

impl ApiError {
    /// The node that a worker asks cannot be asked, or answers nonsense (502).
    pub(crate) fn node_unreachable(cause: impl Display) -> Self {
        let sentence = "the node that holds the assets cannot be asked now; nothing was run";
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", sentence).because(cause)
    }

    /// A refusal of the node that a worker asks, passed on to the client that it is meant for.
    pub(crate) fn of_the_node(status: StatusCode, sentence: String, challenge: Option<HeaderValue>) -> Self {
        let error = Self::new(status, "refused", sentence);
        match challenge {
            Some(challenge) => error.with(WWW_AUTHENTICATE, challenge),
            None => error,
        }
    }
}

fn of_staging(error: staging::Error, sentence: String) -> ApiError {
    use staging::Error;
    match error {
        Error::Busy(_) | Error::AccountBusy(_) => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", sentence)
                .with(RETRY_AFTER, SOON)
        }
        Error::NoRoom(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", sentence).with(RETRY_AFTER, SOON)
        }
        Error::TooMany(..) => ApiError::bad_request("bad_request", sentence),
        Error::TooLarge(_) => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence),
        Error::DiskFull => ApiError::full(),
        Error::Damaged(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "integrity", sentence),
        Error::Source(asset, cause) => {
            let sentence = format!("asset '{asset}' could not be read; nothing was run");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence).because(cause)
        }
        Error::Io(cause) => ApiError::internal(cause),
    }
}
