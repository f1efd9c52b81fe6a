//! Invokes functions. The assets are staged, its container is called, and the answer goes to the client
//! as it comes; or the client is sent away with 202 to ask again. Whatever ends an invocation, its folder goes.

mod board;
mod container;
mod early;
mod inputs;
mod letters;
mod local;
mod metrics;
mod pending;
mod remote;
mod reply;
mod request_body;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_node::staging::{Invocation, Staging};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::ApiError;
use crate::extract::tail;
use crate::invocation::fault::Fault;
use crate::invocation::functions::{Function, Functions};
use crate::invocation::headers::{Told as ContainerTold, mark, to_client, to_container};
use crate::invocation::{Limits, asked};
use crate::presence::Presence;
use container::call;
use metrics::Course;
use pending::{Outcome, Pending, Told};
use reply::{Reply, ReplyBody};
use request_body::{Passage, prepare};
use source::{Account, Input, Source};

pub(crate) use inputs::{FoundInput, FoundInputs, NamedInputs};
pub(crate) use local::{Local, RESOLVE_WITHIN};
pub(crate) use metrics::Metrics;
pub(crate) use remote::Remote;

const FUNCTIONS: &str = "/v2/nvcf/pexec/functions/";
const STATUS: &str = "/v2/nvcf/pexec/status/";
const VERSIONS: &str = "/versions/";

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
    metrics: Metrics,
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
        let metrics = Metrics::new(staging.clone());
        let inner = Inner { functions, limits, staging, source, pending, letters, metrics, cut };
        Self { inner: Arc::new(inner) }
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> Metrics {
        self.inner.metrics.clone()
    }

    /// Answers a request to invoke a function.
    ///
    /// # Errors
    /// The caller may not, or asks for something that is not there; nothing has run.
    pub(crate) async fn invoke(&self, request: Request) -> Result<Response, ApiError> {
        let begun = Instant::now();
        let account = self.inner.source.admit(request.headers(), request.extensions()).await?;
        let function = self.function(request.uri().path())?;
        let poll_time = asked::poll_time(request.headers()).map_err(Fault::from)?;
        let presence = presence_of(request.extensions());
        let work = self.begin(function, account, request).await?;
        Ok(self.wait(work, presence, begun + poll_time).await)
    }

    /// Answers a request for the answer to an invocation.
    ///
    /// # Errors
    /// The caller has no such invocation.
    pub(crate) async fn status(&self, request: Request) -> Result<Response, ApiError> {
        let account = self.inner.source.admit(request.headers(), request.extensions()).await?;
        let text = tail(request.uri().path(), STATUS)?;
        let poll_time = asked::poll_time(request.headers()).map_err(Fault::from)?;
        let presence = presence_of(request.extensions());
        let id = Uuid::try_parse(&text).map_err(|_| Fault::UnknownRequest(text))?;
        let told = tokio::select! {
            biased;
            told = self.inner.pending.ask(id, &account.name, poll_time) => told,
            () = presence.clone().gone() => return Err(ApiError::broken_body("the client has gone")),
            () = self.inner.cut.cancelled() => return Err(Fault::Stopping.into()),
        };
        match told {
            Told::Answer(outcome) => Ok(answer(id, *outcome, presence)),
            Told::NotYet => Ok(not_yet(id)),
            Told::Unknown => Err(Fault::UnknownRequest(id.to_string()).into()),
            Told::ManyWaiting => Err(Fault::ManyWaiting(id).into()),
        }
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
    fn function(&self, path: &str) -> Result<Function, ApiError> {
        let text = tail(path, FUNCTIONS)?;
        let (id, version) = match text.split_once(VERSIONS) {
            Some((id, version)) => (id.to_owned(), Some(version.to_owned())),
            None => (text, None),
        };
        let known =
            Uuid::try_parse(&id).ok().and_then(|id| self.inner.functions.find(id, version.as_deref()));
        Ok(known.cloned().ok_or(Fault::UnknownFunction { id, version })?)
    }

    /// Takes the first steps of an invocation, up to where nothing but time is missing.
    async fn begin(&self, function: Function, account: Account, request: Request) -> Result<Begun, ApiError> {
        let (parts, body) = request.into_parts();
        let assets = asked::references(&parts.headers).map_err(Fault::from)?;
        let entered = self.inner.staging.enter(&account.name, assets.len());
        let invocation = entered.map_err(Fault::from)?;
        let inputs =
            if assets.is_empty() { Vec::new() } else { self.inner.source.resolve(&account, &assets).await? };
        let letters = self.inner.letters.get_or_try_init(letters::upper_case).await;
        let letters = letters.map_err(ApiError::internal)?.clone();
        let (body, passage) = prepare(&parts.headers, body).await?;
        let id = invocation.id();
        let name = account.name.clone();
        let body = (body, passage.clone());
        let course = self.inner.metrics.begin();
        let work = Work { invocation, course, inputs, account: name.clone(), function, parts, body, letters };
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
            () = presence.clone().gone() => Err(ApiError::broken_body("the client has gone")),
            () = self.inner.cut.cancelled() => Err(Fault::Stopping.into()),
            () = passage.through().then(|()| sleep_until(deadline)) => {
                self.inner.pending.keep(id, &account, job);
                return not_yet(id);
            }
        };
        drop(job);
        let outcome = match (outcome, passage.broken()) {
            // The container only noticed what the client did.
            (Err(_), Some(broken)) => Err(broken),
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
    passage: Passage,
}

/// All that an invocation needs.
struct Work {
    invocation: Invocation,
    course: Course,
    inputs: Vec<Input>,
    account: String,
    function: Function,
    parts: Parts,
    body: (Body, Passage),
    letters: Extensions,
}

impl Work {
    async fn run(self, answer_within: Duration) -> Outcome {
        let Self { mut invocation, mut course, inputs, account, function, parts, body, letters } = self;
        let (body, passage) = body;
        let sent = passage.clone();
        let assets: Vec<Uuid> = inputs.iter().map(|input| input.content.asset).collect();
        let called = async {
            let staged = timeout(answer_within, stage(&mut invocation, inputs)).await;
            let folder = staged.map_err(|_| Fault::StagingTimeout(answer_within.as_secs()))??;
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
            Ok::<_, ApiError>(call(&function.target, request, &passage, answer_within).await?)
        };
        match called.await {
            Ok((head, conversation)) => {
                course.answered(head.status);
                let body = ReplyBody::new(conversation, (invocation, course), passage, answer_within).await;
                Ok(Reply { head, body })
            }
            Err(error) => {
                // Else the container only noticed what the client did.
                if sent.broken().is_none() {
                    course.fail();
                }
                invocation.close().await;
                Err(error)
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

/// What the client gets of an invocation.
fn answer(id: Uuid, outcome: Outcome, presence: Presence) -> Response {
    match outcome {
        Ok(Reply { head, body }) => {
            let mut response = Response::new(Body::new(body.for_client(presence)));
            *response.status_mut() = head.status;
            *response.headers_mut() = to_client(&head.headers, id, head.status);
            response
        }
        Err(error) => {
            let mut response = error.into_response();
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
