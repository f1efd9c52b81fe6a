//! Invocations whose accounts and assets are made up.

use assetmesh_node::actor::Tasks;
use assetmesh_node::staging::{Config, Content, Origin};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::*;
use crate::invocation::functions::FunctionConfig;

const FUNCTION: Uuid = Uuid::from_u128(7);
const DEADLINE: Duration = Duration::from_secs(10);

/// Accepts everybody, and has every asset: none of them ever comes.
#[derive(Debug)]
struct Silent;

impl Source for Silent {
    fn admit<'a>(&'a self, _: &'a HeaderMap, _: &'a Extensions) -> BoxFuture<'a, Result<Account, ApiError>> {
        async { Ok(Account { name: "acme".to_owned(), bearer: String::new() }) }.boxed()
    }

    fn resolve<'a>(
        &'a self,
        _: &'a Account,
        assets: &'a [Uuid],
    ) -> BoxFuture<'a, Result<Vec<Input>, ApiError>> {
        let input = |asset: &Uuid| {
            let hash = blake3::hash(b"").into();
            let content = Content { asset: *asset, hash, size: 1, origin: Origin::Elsewhere };
            Input { content, pieces: stream::pending().boxed() }
        };
        async move { Ok(assets.iter().map(input).collect()) }.boxed()
    }
}

/// An invocation of a function that nobody serves.
fn request() -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = format!("{FUNCTIONS}{FUNCTION}").parse().unwrap();
    let asset = HeaderValue::from_str(&Uuid::from_u128(1).to_string()).unwrap();
    request.headers_mut().insert("nvcf-input-asset-references", asset);
    request
}

#[tokio::test]
async fn assets_that_never_come_end_their_invocation_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = Tasks::default();
    let staging = Staging::start(&mut tasks, folder.path(), Config::default()).unwrap();
    let config =
        FunctionConfig { id: FUNCTION, version_id: None, name: None, url: "http://127.0.0.1:1/".to_owned() };
    let limits = Limits { answer_within: Duration::from_millis(50), ..Limits::default() };
    let functions = Functions::new(&[config]).unwrap();
    let invoker = Invoker::new(functions, limits, staging.clone(), Box::new(Silent));

    let answer = timeout(DEADLINE, invoker.invoke(request())).await.expect("it is given up").unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.headers()["nvcf-status"], "errored");
    let sentence = answer.extensions().get::<ApiError>().unwrap().sentence();
    assert!(sentence.contains("the assets of the invocation did not come"), "{sentence}");
    assert_eq!(staging.held(), (0, 0));
    let mut registry = Registry::default();
    invoker.metrics().register(&mut registry);
    let mut figures = String::new();
    encode(&mut figures, &registry).unwrap();
    for line in [
        "invocations_total{outcome=\"errored\"} 1",
        "invocations_total{outcome=\"given_up\"} 0",
        "invocation_seconds_count 1",
    ] {
        assert!(figures.lines().any(|shown| shown == line), "{line}: {figures}");
    }
    tasks.finish().await;
}
