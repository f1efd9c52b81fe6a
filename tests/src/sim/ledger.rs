//! What clients were promised, and whether every node keeps it in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use assetmesh_protocol::registry::{RecordKey, Verified, Version};

use super::node::Node;

/// The newest acknowledged envelope of every key.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: BTreeMap<RecordKey, Arc<Verified>>,
    /// The newest tombstone that an owner has made of every key, acknowledged or not.
    deleted: BTreeMap<RecordKey, Version>,
    pub(super) count: u64,
}

impl Ledger {
    pub(super) fn acknowledge(&mut self, record: Arc<Verified>) {
        self.count += 1;
        let newest = self.acknowledged.entry(record.key()).or_insert_with(|| record.clone());
        if record.version() > newest.version() {
            *newest = record;
        }
    }

    /// An owner has made an envelope. Whoever asked for it may never hear of it.
    pub(super) fn made(&mut self, record: &Verified) {
        if record.is_deleted() {
            self.deleted.insert(record.key(), record.version());
        }
    }

    /// What a node that runs holds against a promise of an owner that runs, or has forgotten of it.
    pub(super) fn check(&self, node: &Node, owners: &[Node], now_ms: u64) -> Vec<String> {
        let Some(cores) = &node.cores else { return Vec::new() };
        let map = cores.registry.map();
        let mut wrong = Vec::new();
        for (key, promised) in &self.acknowledged {
            let owner = owners.iter().find(|owner| owner.key == promised.owner());
            if !owner.is_some_and(|owner| owner.runs() && owner.is_sane()) {
                continue;
            }
            let entry = promised.entry();
            match map.get(key) {
                None if promised.expires_ms() > node.wall_ms(now_ms) => {
                    wrong.push(format!("node {} has lost the entry {entry}", node.number));
                }
                None if self.deleted.get(key).is_none_or(|deleted| *deleted < promised.version()) => {
                    wrong.push(format!("node {} let the entry {entry} die, whose owner lives", node.number));
                }
                Some(held) if held.version() < promised.version() && promised.is_deleted() => {
                    wrong.push(format!("node {} shows the deleted entry {entry}", node.number));
                }
                Some(held) if held.version() < promised.version() => {
                    wrong.push(format!("node {} shows an old version of the entry {entry}", node.number));
                }
                Some(held) if held.version() == promised.version() && held.hash() != promised.hash() => {
                    wrong.push(format!("node {} shows another text of the entry {entry}", node.number));
                }
                _ => {}
            }
        }
        for (key, deleted) in &cores.tombstones {
            if map.get(key).is_some_and(|held| !held.is_deleted() && held.version() < *deleted) {
                wrong.push(format!("node {} brought the deleted entry {key:?} back", node.number));
            }
        }
        wrong
    }
}
