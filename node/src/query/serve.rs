//! Answers peers for this node alone: a filter, a name, a change of one of its assets. It asks nobody, so that a question
//! takes one hop; it stops at the deadline it was given and sends no more than was asked for and fits a message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::asset::Patch;
use assetmesh_protocol::codec::TooLong;
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::limits::PAGE_ROWS_MAX;
use assetmesh_protocol::query::{
    AssetChange, End, FindAsk, QueryAnswer, QueryAsk, QueryRefusal, ROWS_BYTES_MAX, Row, Shortfall,
    WriteAnswer, WriteAsk, WriteRefusal,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::peers::Standing;
use super::{DEADLINE_MAX, RemoteWrites, Shared};
use crate::blocking::by_length;
use crate::catalog::{self, Gap, Position, Select, Selected};
use crate::swarm::{Offence, Request};

/// Runs until the node stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut queries: mpsc::Receiver<Request>,
    mut writes: mpsc::Receiver<Request>,
    stop: CancellationToken,
) {
    let mut answering = JoinSet::new();
    loop {
        let has_room = answering.len() < shared.config.answered_at_once;
        tokio::select! {
            () = stop.cancelled() => return,
            Some(request) = queries.recv() => {
                if has_room {
                    let (shared, came) = (Arc::clone(&shared), Instant::now());
                    answering.spawn(async move { asked(&shared, request, came).await });
                } else {
                    shared.metrics.served("busy");
                    reply(request.answer, QueryAnswer::Refused(QueryRefusal::Busy).encode());
                }
            }
            Some(request) = writes.recv() => {
                if has_room {
                    let shared = Arc::clone(&shared);
                    answering.spawn(async move { told(&shared, request).await });
                } else {
                    shared.metrics.served("busy");
                    reply(request.answer, WriteAnswer::Refused(WriteRefusal::Busy).encode());
                }
            }
            Some(ended) = answering.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an answer to a peer broke off");
                }
            }
        }
    }
}

/// A bad message has no answer: its sender sees that it was refused.
async fn asked(shared: &Shared, Request { from, body, answer, .. }: Request, came: Instant) {
    let ask = match QueryAsk::decode(&body) {
        Ok(ask) => ask,
        Err(error) => {
            tracing::debug!(assets_db_id = %from.assets_db_id(), %error, "a malformed question");
            return shared.peers.penalise(from, Offence::Malformed).await;
        }
    };
    let answered = match ask {
        QueryAsk::Find(ask) => find(shared, ask, came).await,
        QueryAsk::Look { key, .. } => look(shared, &key),
    };
    let answered = answered.unwrap_or_else(QueryAnswer::Refused);
    shared.metrics.served(match &answered {
        QueryAnswer::Rows { end: End::Partial(_), .. } => "partial",
        QueryAnswer::Rows { .. } | QueryAnswer::Looked(_) => "full",
        QueryAnswer::Refused(_) => "refused",
    });
    reply(answer, answered.encode());
}

/// The first rows that match, as many as fit.
pub(super) async fn find(shared: &Shared, ask: FindAsk, came: Instant) -> Result<QueryAnswer, QueryRefusal> {
    let bad = |error: &dyn std::fmt::Display| QueryRefusal::BadQuestion(error.to_string());
    let limit = ask.limit as usize;
    if limit == 0 || limit > PAGE_ROWS_MAX {
        return Err(bad(&format_args!("the limit is not between 1 and {PAGE_ROWS_MAX}")));
    }
    let (length, text) = (ask.filter.len(), ask.filter);
    let filter = by_length(length, move || Filter::parse_json(text.as_bytes())).await;
    let filter = filter.ok_or(QueryRefusal::Failed)?.map_err(|error| bad(&error))?;
    let sort = match ask.sort.as_str() {
        "" => None,
        text => Some(Arc::new(Sort::parse(text).map_err(|error| bad(&error))?)),
    };
    let granted = Duration::from_millis(ask.deadline_ms.into()).min(DEADLINE_MAX);
    let after = ask.after.map(|after| {
        let (record, owner) = (after.record(), after.owner());
        Position { key: after.key.into(), record, owner }
    });
    let select = Select {
        filter: Arc::new(filter),
        sort,
        limit,
        bytes_max: ROWS_BYTES_MAX,
        after,
        deadline: granted.saturating_sub(came.elapsed()),
    };
    match shared.catalog.select(select).await {
        Ok(selected) => Ok(packed(selected)),
        Err(catalog::Error::Busy | catalog::Error::Stopped) => Err(QueryRefusal::Busy),
        Err(
            error @ (catalog::Error::Eval(_)
            | catalog::Error::Sort(_)
            | catalog::Error::SortKeysTooLong { .. }),
        ) => Err(bad(&error)),
        Err(error) => {
            tracing::warn!(%error, "a peer's question failed here");
            Err(QueryRefusal::Failed)
        }
    }
}

/// As many rows as fit a message, and what is to be said of the rest.
fn packed(selected: Selected) -> QueryAnswer {
    let Selected { rows, more, gap } = selected;
    let (found, mut bytes, mut key_bytes) = (rows.len(), 0, 0);
    let mut taken = Vec::with_capacity(found);
    for (key, asset) in rows {
        let row = row_of(asset);
        bytes += row.bytes();
        // The keys do not travel, but who asked makes them anew and has room for so many.
        key_bytes += key.len();
        if bytes.max(key_bytes) > ROWS_BYTES_MAX && !taken.is_empty() {
            break;
        }
        taken.push(row);
    }
    let end = match gap {
        Some(Gap::Deadline) => End::Partial(Shortfall::Deadline),
        Some(Gap::DamagedRows(_)) => End::Partial(Shortfall::Damaged),
        None if taken.len() == found && !more => End::Whole,
        None => End::More,
    };
    QueryAnswer::Rows { rows: taken, end }
}

fn row_of(asset: catalog::Asset) -> Row {
    Row::new(asset.record, asset.document.into_bytes().into_vec())
}

fn look(shared: &Shared, key: &str) -> Result<QueryAnswer, QueryRefusal> {
    let found = shared.catalog.find(key).map_err(|_| QueryRefusal::Failed)?;
    Ok(QueryAnswer::Looked(found.map(row_of)))
}

async fn told(shared: &Shared, Request { from, body, answer, .. }: Request) {
    let ask = match WriteAsk::decode(&body) {
        Ok(ask) => ask,
        Err(error) => {
            tracing::debug!(assets_db_id = %from.assets_db_id(), %error, "a malformed change");
            return shared.peers.penalise(from, Offence::Malformed).await;
        }
    };
    let is_member = || {
        let others = shared.peers.others();
        others.iter().any(|peer| peer.key == from && peer.standing != Standing::Left)
    };
    let may = shared.config.remote_writes == RemoteWrites::Members && is_member();
    let answered = if may { apply(shared, from, ask).await } else { Err(WriteRefusal::Forbidden) };
    reply(answer, answered.unwrap_or_else(WriteAnswer::Refused).encode());
}

async fn apply(shared: &Shared, from: NodeKey, ask: WriteAsk) -> Result<WriteAnswer, WriteRefusal> {
    let now = Instant::now();
    let may = shared.permits.holds(&from, &ask.permit, now);
    let key = ask.record().to_string();
    let invalid = |code: &str, error: &dyn std::fmt::Display| WriteRefusal::Invalid {
        code: code.to_owned(),
        message: error.to_string(),
    };
    let changed = match ask.change {
        AssetChange::Permit => return Ok(WriteAnswer::Permit(shared.permits.give(&from, now))),
        _ if !may => return Err(WriteRefusal::Late),
        AssetChange::Delete => shared.catalog.delete(&key).await,
        AssetChange::Update(text) => {
            let body = Document::from_json(text.as_bytes()).map_err(|error| invalid("bad_json", &error))?;
            let patch = Patch::parse(&body).map_err(|error| invalid(error.code(), &error))?;
            shared.catalog.update(&key, patch).await
        }
    };
    let asset = changed.map_err(|error| match error {
        catalog::Error::NotFound(_) => WriteRefusal::NotFound,
        catalog::Error::Conflict { uri } => WriteRefusal::Conflict { uri },
        catalog::Error::Invalid(error) => invalid(error.code(), &error),
        catalog::Error::Full => WriteRefusal::Full,
        catalog::Error::Busy => WriteRefusal::Busy,
        _ => WriteRefusal::Failed,
    })?;
    Ok(WriteAnswer::Done { uri: asset.uri().to_owned() })
}

fn reply(answer: oneshot::Sender<Vec<u8>>, bytes: Result<Vec<u8>, TooLong>) {
    if let Ok(bytes) = bytes {
        // The asker may have gone.
        answer.send(bytes).ok();
    }
}
