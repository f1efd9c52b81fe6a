//! `POST /assets`: the assets that match a filter, page by page.

use std::time::{Duration, Instant};

use assetmesh_node::blocking::by_length;
use assetmesh_node::catalog::{self, Gap, Query};
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::PAGE_ROWS_MAX;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::JsonText;
use crate::federation::{Federation, Scope};
use crate::params::Params;
use crate::schema::{AssetsAnswer, FilterDocument, Querying};

/// How long a query may take if the client does not say: people wait that long for a list.
const TIMEOUT_MS_DEFAULT: u64 = 2_000;
/// How long a query may take at most, so that one client cannot hold a core.
const TIMEOUT_MS_MAX: u64 = 10_000;

/// Lists the assets that match a filter document.
#[utoipa::path(post, path = "/assets", tag = "assets", request_body = FilterDocument,
    params(
        ("scope" = inline(Option<Scope>), Query, description = "Where to look, `federation` by default"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Rows a page, 1000 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "`-a.b,c`, or JSON `{\"a.b\":-1}`"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "2000 by default"),
        ("allow_partial" = Option<bool>, Query, description = "Take what is there at the deadline"),
    ),
    responses((status = 200, description = "One page", body = AssetsAnswer), Querying))]
pub(crate) async fn query(
    State(app): State<App>,
    uri: Uri,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let parsed = by_length(text.len(), move || wanted(uri.query(), &text)).await;
    let Wanted { query, allow_partial, scope } = parsed.ok_or_else(broke_off)??;
    let page = match scope {
        Scope::Federation => everywhere(&app, query).await?,
        Scope::Local => here(&app, query, started).await?,
    };
    let Page { rows, next_cursor, federation, is_late } = page;
    if is_late && !allow_partial {
        return Err(ApiError::deadline().told_by_federation(&federation));
    }
    let length = rows.iter().map(|asset| asset.document.as_bytes().len()).sum();
    let write = move || {
        let answer = Answer::new()
            .documents("data", rows.iter().map(|asset| &asset.document))
            .member("next_cursor", &next_cursor)?
            .member("federation", &federation)?;
        Ok(answer.send(StatusCode::OK))
    };
    by_length(length, write).await.ok_or_else(broke_off)?
}

fn broke_off() -> ApiError {
    ApiError::internal("the thread that worked on a query broke off")
}

/// One page, of this node or of all.
struct Page {
    rows: Vec<catalog::Asset>,
    next_cursor: Option<String>,
    federation: Federation,
    /// Whether somebody was not done at the deadline.
    is_late: bool,
}

async fn everywhere(app: &App, query: Query) -> Result<Page, ApiError> {
    let page = app.node.queries().find(query).await?;
    let federation = Federation::from(&page.report);
    Ok(Page { rows: page.rows, next_cursor: page.next_cursor, federation, is_late: page.report.is_late() })
}

async fn here(app: &App, query: Query, started: Instant) -> Result<Page, ApiError> {
    let catalog::Page { rows, next_cursor, gap } = app.node.catalog().query(query).await?;
    let federation = Federation::of_one(&app.node, gap.map(reason), started.elapsed());
    Ok(Page { rows, next_cursor, federation, is_late: gap == Some(Gap::Deadline) })
}

#[derive(Debug)]
struct Wanted {
    query: Query,
    allow_partial: bool,
    scope: Scope,
}

/// Checks the parameters first: they are cheaper to refuse than the filter.
fn wanted(query: Option<&str>, text: &[u8]) -> Result<Wanted, ApiError> {
    let mut params = Params::parse(query)?;
    let scope = params.word("scope", &Scope::WORDS)?.unwrap_or(Scope::Federation);
    let limit = params.number("limit", 1, PAGE_ROWS_MAX)?.unwrap_or(PAGE_ROWS_MAX);
    let timeout_ms = params.number("timeout_ms", 1, TIMEOUT_MS_MAX)?.unwrap_or(TIMEOUT_MS_DEFAULT);
    let allow_partial = params.word("allow_partial", &[("true", true), ("false", false)])?;
    let cursor = params.text("cursor").filter(|cursor| !cursor.is_empty());
    let sort_text = params.text("sort").unwrap_or_default();
    params.finish()?;
    let sort = if sort_text.is_empty() { None } else { Some(Sort::parse(&sort_text)?) };
    let filter = Filter::parse_json(text)?;
    let filter_text = String::from_utf8_lossy(text).into_owned();
    let deadline = Duration::from_millis(timeout_ms);
    let query = Query { filter, filter_text, sort, sort_text, limit, cursor, deadline };
    Ok(Wanted { query, allow_partial: allow_partial.unwrap_or(false), scope })
}

fn reason(gap: Gap) -> String {
    match gap {
        Gap::Deadline => "stopped at the deadline".to_owned(),
        Gap::DamagedRows(rows) => format!("{rows} damaged rows are not served"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_has_its_default() {
        let Wanted { query, allow_partial, scope } = wanted(None, b"{}").unwrap();
        assert_eq!((query.limit, query.deadline, allow_partial), (1000, Duration::from_secs(2), false));
        assert_eq!(scope, Scope::Federation);
        assert!(query.sort.is_none() && query.cursor.is_none());
        let Wanted { query, .. } = wanted(Some("sort=&cursor="), b"{}").unwrap();
        assert!(query.sort.is_none() && query.cursor.is_none(), "empty is absent");
    }

    #[test]
    fn every_parameter_is_read() {
        let text = "scope=local&limit=7&cursor=c&sort=-a.b%2Cc&timeout_ms=50&allow_partial=true";
        let Wanted { query, allow_partial, scope } = wanted(Some(text), b"{\"a\":1}").unwrap();
        assert_eq!((query.limit, query.deadline, allow_partial), (7, Duration::from_millis(50), true));
        assert_eq!(scope, Scope::Local);
        assert_eq!((query.sort_text.as_str(), query.cursor.as_deref()), ("-a.b,c", Some("c")));
        assert_eq!(query.filter_text, "{\"a\":1}");
    }

    #[test]
    fn bad_parameters_are_refused_by_name() {
        for text in [
            "limit=0",
            "limit=1001",
            "timeout_ms=0",
            "timeout_ms=10001",
            "scope=all",
            "allow_partial=1",
            "skip=2",
        ] {
            let error = wanted(Some(text), b"{}").unwrap_err();
            let name = text.split('=').next().unwrap();
            assert!(error.sentence().contains(&format!("{name:?}")), "{text}: {}", error.sentence());
        }
    }

    #[test]
    fn bad_filters_and_sorts_are_refused() {
        for text in [&b""[..], b"{", b"[]", b"1", b"\"x\"", b"{\"$foo\":1}"] {
            assert!(wanted(None, text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(wanted(Some("sort=%24"), b"{}").is_err());
    }
}
