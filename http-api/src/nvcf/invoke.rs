//! `/v2/nvcf/pexec`: invokes a function. Its assets are staged, its container is called, and the answer goes to the client
//! as it comes; or the client is sent away with 202 to ask again. Whatever ends an invocation, its folder goes.

mod asked;
mod board;
mod container;
pub(crate) mod fault;
pub(crate) mod functions;
mod headers;
mod letters;
mod local;
mod pending;
mod remote;
mod reply;
mod request_body;
pub(crate) mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_node::staging::{Invocation, Staging};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use uuid::Uuid;

use super::schema::Invoking;
use crate::error::ApiError;
use crate::extract::tail;
use crate::presence::Presence;
use container::{Conversation, call};
use fault::Fault;
use functions::{Function, Functions};
use headers::{Told as ContainerTold, mark, to_client, to_container};
use pending::{Outcome, Pending, Told};
use reply::{Reply, ReplyBody};
use request_body::prepare;
use source::{Account, Input, Source};

pub(crate) use local::Local;
pub(crate) use remote::Remote;

const FUNCTIONS: &str = "/v2/nvcf/pexec/functions/";
const STATUS: &str = "/v2/nvcf/pexec/status/";
const VERSIONS: &str = "/versions/";

/// How long invocations may take, and what is kept of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A container that sends nothing for this long is given up. 1 h: as long as a client may wait at once.
    pub answer_within: Duration,
    /// Answers that are kept for clients that were sent away. 256: with what is taken of each, 32 MiB.
    pub kept_max: usize,
    /// How long such an answer is kept. 5 min: clients ask again at once, and have some time to restart.
    pub keep_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answer_within: Duration::from_secs(3600), kept_max: 256, keep_for: Duration::from_secs(300) }
    }
}

/// Invokes functions. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Invoker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    functions: Functions,
    limits: Limits,
    staging: Staging,
    source: Box<dyn Source>,
    pending: Pending,
    letters: OnceCell<Extensions>,
    cut: CancellationToken,
}

impl Invoker {
    pub(crate) fn new(
        functions: Functions,
        limits: Limits,
        staging: Staging,
        source: Box<dyn Source>,
    ) -> Self {
        let pending = Pending::new(limits.kept_max, limits.keep_for);
        let (letters, cut) = (OnceCell::new(), CancellationToken::new());
        Self { inner: Arc::new(Inner { functions, limits, staging, source, pending, letters, cut }) }
    }

    /// Sends those away who still wait: the process is about to end.
    pub(crate) fn cut(&self) {
        self.inner.cut.cancel();
    }

    /// Ends all invocations that have no client. Their folders are on their way out when this returns.
    pub(crate) async fn stop(&self) {
        self.cut();
        self.inner.pending.stop().await;
    }

    /// The function that a path names after `/functions/`.
    fn function(&self, path: &str) -> Result<Function, Fault> {
        let text = tail(path, FUNCTIONS)?;
        let (id, version) = match text.split_once(VERSIONS) {
            Some((id, version)) => (id.to_owned(), Some(version.to_owned())),
            None => (text, None),
        };
        let known =
            Uuid::try_parse(&id).ok().and_then(|id| self.inner.functions.find(id, version.as_deref()));
        known.cloned().ok_or(Fault::UnknownFunction { id, version })
    }

    /// Takes the first steps of an invocation, up to where nothing but time is missing.
    async fn begin(&self, function: Function, account: Account, request: Request) -> Result<Begun, Fault> {
        let (parts, body) = request.into_parts();
        let assets = asked::references(&parts.headers)?;
        let invocation = self.inner.staging.enter(assets.len())?;
        let inputs =
            if assets.is_empty() { Vec::new() } else { self.inner.source.resolve(&account, &assets).await? };
        let letters = self.inner.letters.get_or_try_init(letters::upper_case).await;
        let letters = letters.map_err(ApiError::internal)?.clone();
        let (body, passage) = prepare(&parts.headers, body).await?;
        let id = invocation.id();
        let name = account.name.clone();
        let work = Work { invocation, inputs, account: name.clone(), function, parts, body, letters };
        let job = work.run(self.inner.limits.answer_within).boxed();
        Ok(Begun { id, account: name, job, passage })
    }

    /// Waits for the answer as long as the client does.
    async fn wait(&self, begun: Begun, presence: Presence, deadline: Instant) -> Response {
        let Begun { id, account, mut job, passage } = begun;
        let outcome = tokio::select! {
            biased;
            outcome = &mut job => outcome,
            // Nobody reads this.
            () = presence.clone().gone() => Err(ApiError::broken_body("the client has gone").into()),
            () = self.inner.cut.cancelled() => Err(Fault::Stopping),
            () = passage.through().then(|()| sleep_until(deadline)) => {
                self.inner.pending.keep(id, &account, job);
                return not_yet(id);
            }
        };
        drop(job);
        let outcome = match (outcome, passage.broken()) {
            // The container only noticed what the client did.
            (Err(_), Some(broken)) => Err(broken.into()),
            (outcome, _) => outcome,
        };
        answer(id, outcome, presence)
    }
}

/// An invocation that is on its way.
struct Begun {
    id: Uuid,
    account: String,
    job: pending::Job,
    passage: request_body::Passage,
}

/// All that an invocation needs.
struct Work {
    invocation: Invocation,
    inputs: Vec<Input>,
    account: String,
    function: Function,
    parts: Parts,
    body: Body,
    letters: Extensions,
}

impl Work {
    async fn run(self, answer_within: Duration) -> Outcome {
        let Self { mut invocation, inputs, account, function, parts, body, letters } = self;
        let assets: Vec<Uuid> = inputs.iter().map(|input| input.content.asset).collect();
        let called = async {
            let folder = stage(&mut invocation, inputs).await?;
            let request = invocation.id();
            let told = ContainerTold {
                request,
                folder: &folder,
                assets: &assets,
                account: &account,
                function: &function,
            };
            let headers = to_container(&parts.headers, &told)
                .ok_or_else(|| ApiError::internal("the account or the folder cannot stand in a header"))?;
            let request = outgoing(parts.method, &function, headers, letters, body);
            call(&function.target, request, answer_within).await
        };
        match called.await {
            Ok((head, conversation)) => Ok(reply(head, conversation, invocation, answer_within).await),
            Err(fault) => {
                invocation.close().await;
                Err(fault)
            }
        }
    }
}

/// Puts all assets into the folder, and opens it.
async fn stage(invocation: &mut Invocation, inputs: Vec<Input>) -> Result<PathBuf, Fault> {
    let bytes = inputs.iter().fold(0_u64, |sum, input| sum.saturating_add(input.content.size));
    let folder = invocation.open(bytes).await?;
    for Input { content, pieces } in inputs {
        invocation.add(content, pieces).await?;
    }
    invocation.publish()?;
    Ok(folder)
}

fn outgoing(
    method: Method,
    function: &Function,
    headers: HeaderMap,
    letters: Extensions,
    body: Body,
) -> http::Request<Body> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(function.target.path.clone());
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    *request.extensions_mut() = letters;
    request
}

async fn reply(
    head: http::response::Parts,
    conversation: Conversation,
    invocation: Invocation,
    quiet_max: Duration,
) -> Reply {
    Reply { head, body: ReplyBody::new(conversation, invocation, quiet_max).await }
}

/// What the client gets of an invocation.
fn answer(id: Uuid, outcome: Outcome, presence: Presence) -> Response {
    match outcome {
        Ok(Reply { head, body }) => {
            let mut response = Response::new(Body::new(body.for_client(presence)));
            *response.status_mut() = head.status;
            *response.headers_mut() = to_client(&head.headers, id, head.status);
            response
        }
        Err(fault) => {
            let mut response = ApiError::from(fault).into_response();
            mark(response.headers_mut(), id, "errored");
            response
        }
    }
}

fn not_yet(id: Uuid) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    mark(response.headers_mut(), id, "pending-evaluation");
    response
}

fn presence_of(extensions: &Extensions) -> Presence {
    extensions.get::<Presence>().cloned().unwrap_or_default()
}

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
    let begun = Instant::now();
    let account = invoker.inner.source.admit(request.headers()).await?;
    let function = invoker.function(request.uri().path())?;
    let poll_time = asked::poll_time(request.headers()).map_err(Fault::from)?;
    let presence = presence_of(request.extensions());
    let work = invoker.begin(function, account, request).await?;
    Ok(invoker.wait(work, presence, begun + poll_time).await)
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
    let account = invoker.inner.source.admit(request.headers()).await?;
    let text = tail(request.uri().path(), STATUS)?;
    let poll_time = asked::poll_time(request.headers()).map_err(Fault::from)?;
    let presence = presence_of(request.extensions());
    let id = Uuid::try_parse(&text).map_err(|_| Fault::UnknownRequest(text))?;
    let told = tokio::select! {
        biased;
        told = invoker.inner.pending.ask(id, &account.name, poll_time) => told,
        () = presence.clone().gone() => return Err(ApiError::broken_body("the client has gone")),
        () = invoker.inner.cut.cancelled() => return Err(Fault::Stopping.into()),
    };
    match told {
        Told::Answer(outcome) => Ok(answer(id, *outcome, presence)),
        Told::NotYet => Ok(not_yet(id)),
        Told::Unknown => Err(Fault::UnknownRequest(id.to_string()).into()),
        Told::ManyWaiting => Err(Fault::ManyWaiting(id).into()),
    }
}
