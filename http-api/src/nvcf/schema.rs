//! The refusals of the NVCF routes as OpenAPI shows them.

use std::collections::BTreeMap;

use http::StatusCode;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::error::Problem;

/// Declares a set of refusals by their media type and statuses.
macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident = $make:ident [$($status:literal),*];)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$($status),*].into_iter().map($make).collect()
            }
        }
    )*};
}

refusals! {
    /// A route that takes a JSON body.
    Changing = problem [400, 401, 403, 408, 413, 415, 429, 431, 500, 503, 507];
    /// A route that needs none.
    Reading = problem [400, 401, 403, 404, 431, 500, 503];
    /// A route that invokes a function.
    Invoking = problem [400, 401, 403, 404, 408, 413, 429, 431, 500, 502, 503, 504, 507];
    /// A route that takes content.
    Uploading = xml [400, 403, 408, 409, 413, 431, 500, 503, 507];
}

fn problem(status: u16) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let response = described(status).content("application/problem+json", content);
    (status.to_string(), response.build().into())
}

fn xml(status: u16) -> (String, RefOr<Response>) {
    let response = described(status).content("application/xml", ContentBuilder::new().build());
    (status.to_string(), response.build().into())
}

fn described(status: u16) -> ResponseBuilder {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    ResponseBuilder::new().description(reason.unwrap_or_default())
}
