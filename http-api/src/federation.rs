//! How much of the federation an answer covers. No answer hides what it lacks.

use std::time::Duration;

use assetmesh_node::Node;
use assetmesh_node::fetch;
use assetmesh_node::query::{Counts, Report};
use assetmesh_protocol::ids::NodeKey;
use serde::Serialize;
use utoipa::ToSchema;

/// Where a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Every member of the federation.
    Federation,
    /// This node alone.
    Local,
}

impl Scope {
    /// The words for it in a query string.
    pub(crate) const WORDS: [(&str, Self); 2] = [("federation", Self::Federation), ("local", Self::Local)];
}

/// What became of each member that might have known more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Nodes {
    /// Members of the federation that have not left, this node included.
    known: u64,
    /// Those believed to be up.
    alive: u64,
    /// Those that were asked.
    asked: u64,
    /// Those that answered in full.
    answered: u64,
    /// Those proven to hold nothing that matches.
    pruned: u64,
    /// Those that answered in part.
    partial: u64,
    /// Those that did not answer in time.
    timed_out: u64,
    /// Those that gave no acceptable answer.
    failed: u64,
    /// Those that refused because they had too much to do.
    busy: u64,
    /// Those that are away so long that nobody waits for them, or were given up by this node's operator.
    departed: u64,
}

/// A member whose answer is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Missing {
    assets_db_id: String,
    name: String,
    reason: String,
}

/// The coverage of one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Federation {
    /// True only if every member that is not known to have left answered in full or was pruned.
    complete: bool,
    nodes: Nodes,
    missing: Vec<Missing>,
    /// When the oldest summary that ruled a member out was asked for, if one was ruled out. What that member has taken
    /// since may be missing, though it tells of changes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned_as_of: Option<String>,
    /// Milliseconds from the request to this answer.
    took_ms: u64,
}

impl Federation {
    /// What became of the members that were asked who holds some content. This node does not hold it.
    pub(crate) fn of_search(node: &Node, coverage: &fetch::Coverage, took: Duration) -> Self {
        let peers = node.peers();
        let known = |key: &NodeKey| {
            let assets_db_id = key.assets_db_id().to_string();
            peers.iter().find(|peer| peer.assets_db_id == assets_db_id)
        };
        let is_forgotten = |(key, why): &&(NodeKey, fetch::Missing)| {
            *why == fetch::Missing::Down && known(key).is_some_and(|peer| peer.forgotten)
        };
        let forgotten = coverage.missing.iter().filter(is_forgotten).count() as u64;
        let count = |is_it: fn(&fetch::Missing) -> bool| {
            coverage.missing.iter().filter(|(_, why)| is_it(why)).count() as u64
        };
        let nodes = Nodes {
            known: coverage.known + 1,
            alive: coverage.asked + coverage.pruned + 1,
            asked: coverage.asked + 1,
            answered: coverage.answered + 1,
            pruned: coverage.pruned,
            timed_out: count(|why| matches!(why, fetch::Missing::TimedOut)),
            failed: count(|why| matches!(why, fetch::Missing::Failed(_) | fetch::Missing::False)),
            busy: count(|why| matches!(why, fetch::Missing::Busy)),
            departed: coverage.departed + forgotten,
            ..Nodes::default()
        };
        let missed = coverage.missing.iter().filter(|missing| !is_forgotten(missing));
        let missing: Vec<Missing> = missed
            .map(|(key, why)| {
                let name = known(key).map(|peer| peer.name.clone()).unwrap_or_default();
                Missing { assets_db_id: key.assets_db_id().to_string(), name, reason: why.to_string() }
            })
            .collect();
        Self {
            complete: missing.is_empty(),
            nodes,
            missing,
            pruned_as_of: None,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// This node alone, whose answer is whole or lacks something for a reason.
    pub(crate) fn of_one(node: &Node, gap: Option<String>, took: Duration) -> Self {
        let one = Nodes { known: 1, alive: 1, asked: 1, ..Nodes::default() };
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let missing =
            gap.map(|reason| Missing { assets_db_id: node.assets_db_id(), name: node.name(), reason });
        let nodes = match missing {
            None => Nodes { answered: 1, ..one },
            Some(_) => Nodes { partial: 1, ..one },
        };
        let (complete, missing) = (missing.is_none(), missing.into_iter().collect());
        Self { complete, nodes, missing, pruned_as_of: None, took_ms }
    }
}

impl From<&Report> for Federation {
    fn from(report: &Report) -> Self {
        let Counts { known, alive, asked, answered, pruned, partial, timed_out, failed, busy, departed } =
            report.nodes;
        let nodes =
            Nodes { known, alive, asked, answered, pruned, partial, timed_out, failed, busy, departed };
        let missing = report.missing.iter().map(|missing| Missing {
            assets_db_id: missing.assets_db_id.clone(),
            name: missing.name.clone(),
            reason: missing.reason.clone(),
        });
        let (complete, missing) = (report.complete, missing.collect());
        let (pruned_as_of, took_ms) = (report.pruned_as_of.clone(), report.took_ms);
        Self { complete, nodes, missing, pruned_as_of, took_ms }
    }
}
