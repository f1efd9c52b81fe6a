//! `/v2/nvcf/pexec` as its clients see it: invoke a function, and ask for an answer that was not there at once.

use axum::extract::{Request, State};
use axum::response::Response;
use utoipa::IntoParams;

use super::schema::Invoking;
use crate::error::ApiError;
use crate::invoke::Invoker;

/// What an invocation may say in its headers.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the OpenAPI document uses it")]
pub(crate) struct InvocationHeaders {
    /// Ids of uploaded assets, with commas; the header may be there several times.
    #[param(rename = "NVCF-INPUT-ASSET-REFERENCES")]
    references: Option<String>,
    /// How long the client waits for the answer before a 202; 60 without it.
    #[param(rename = "NVCF-POLL-SECONDS", minimum = 1, maximum = 3600)]
    poll_seconds: Option<u64>,
}

/// Invokes a function in the first of its versions.
#[utoipa::path(post, path = "/v2/nvcf/pexec/functions/{function_id}", tag = "nvcf",
    params(("function_id" = Uuid, Path, description = "The function"), InvocationHeaders),
    request_body(content = Vec<u8>, content_type = "*/*", description = "Goes to the container as it is"),
    responses(
        (status = 200, description = "What the container answers", content_type = "*/*", body = Vec<u8>),
        (status = 202, description = "Not done yet: ask for the status of NVCF-REQID"),
        Invoking))]
pub(crate) async fn invoke(State(invoker): State<Invoker>, request: Request) -> Result<Response, ApiError> {
    invoker.invoke(request).await
}

/// Invokes one version of a function.
#[utoipa::path(post, path = "/v2/nvcf/pexec/functions/{function_id}/versions/{version_id}", tag = "nvcf",
    params(
        ("function_id" = Uuid, Path, description = "The function"),
        ("version_id" = String, Path, description = "Its version"),
        InvocationHeaders),
    request_body(content = Vec<u8>, content_type = "*/*", description = "Goes to the container as it is"),
    responses(
        (status = 200, description = "What the container answers", content_type = "*/*", body = Vec<u8>),
        (status = 202, description = "Not done yet: ask for the status of NVCF-REQID"),
        Invoking))]
pub(crate) async fn invoke_version(invoker: State<Invoker>, request: Request) -> Result<Response, ApiError> {
    invoke(invoker, request).await
}

/// Asks for the answer to an invocation that was answered 202.
#[utoipa::path(get, path = "/v2/nvcf/pexec/status/{request_id}", tag = "nvcf",
    params(
        ("request_id" = Uuid, Path, description = "The NVCF-REQID of the 202"),
        ("NVCF-POLL-SECONDS" = Option<u64>, Header, minimum = 1, maximum = 3600,
            description = "How long to wait for the answer before another 202; 60 without it")),
    responses(
        (status = 200, description = "What the container answers", content_type = "*/*", body = Vec<u8>),
        (status = 202, description = "Not done yet: ask again"),
        Invoking))]
pub(crate) async fn status(State(invoker): State<Invoker>, request: Request) -> Result<Response, ApiError> {
    invoker.status(request).await
}
