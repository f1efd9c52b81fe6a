//! What readers see: one consistent copy of the map, and which envelope shows under an id. It changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use assetmesh_protocol::document::Document;
use assetmesh_protocol::ids::{AssetsDbId, NodeKey};
use assetmesh_protocol::registry::{EntryId, NodeRecord, Payload, Verified};

use super::map::Map;

/// The registry at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) map: Map,
    pub(super) members: Arc<BTreeMap<NodeKey, Arc<Verified>>>,
}

impl View {
    /// The entry that shows under an id.
    pub(super) fn entry(&self, id: &EntryId, now_ms: u64) -> Option<Entry> {
        shown(self.map.of_entry(id).cloned().collect(), now_ms)
    }

    /// Every entry that shows, in the order of keys.
    pub(super) fn entries(&self, now_ms: u64) -> impl Iterator<Item = Entry> {
        let mut records = self.map.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                // Envelopes of one entry id lie side by side; others between them would need a broken hash, and
                // are then judged with them.
                let first = records.next()?;
                let mut same = vec![first.clone()];
                while let Some(next) = records.next_if(|next| next.key().0[..8] == first.key().0[..8]) {
                    same.push(next.clone());
                }
                same.retain(|record| record.entry() == first.entry());
                if let Some(entry) = shown(same, now_ms) {
                    return Some(entry);
                }
            }
        })
    }

    /// The record of every node that has one.
    pub(super) fn members(&self, now_ms: u64) -> Vec<Member> {
        let records = self.members.iter().filter(|(_, record)| record.expires_ms() > now_ms);
        let member = |(key, record): (&NodeKey, &Arc<Verified>)| match record.payload() {
            Payload::Node(node) => Some(Member {
                key: *key,
                assets_db_id: key.assets_db_id(),
                record: node,
                issued_ms: record.issued_ms(),
            }),
            _ => None,
        };
        records.filter_map(member).collect()
    }
}

/// Of the live envelopes of one id, the one that was created first shows, on every node the same; of two created at
/// one time, the one with the smaller owner key.
fn shown(records: Vec<Arc<Verified>>, now_ms: u64) -> Option<Entry> {
    let lives = |record: &Arc<Verified>| record.expires_ms() > now_ms && record.created_ms().is_some();
    let mut live: Vec<_> = records.into_iter().filter(lives).collect();
    live.sort_by_key(|record| (record.created_ms(), record.owner()));
    let mut live = live.into_iter();
    let record = live.next()?;
    Some(Entry { record, hidden: live.map(|record| record.owner()).collect() })
}

/// One registry entry as clients see it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) record: Arc<Verified>,
    hidden: Vec<NodeKey>,
}

impl Entry {
    /// An entry that has just been written.
    pub(super) const fn of(record: Arc<Verified>) -> Self {
        Self { record, hidden: Vec::new() }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        self.record.entry()
    }

    /// The five members, in their order. Nothing for an entry that has just been deleted.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        self.record.document()
    }

    /// Who owns it.
    #[must_use]
    pub fn owner(&self) -> NodeKey {
        self.record.owner()
    }

    /// Who else has a live entry under this id; their entries do not show.
    #[must_use]
    pub fn hidden_owners(&self) -> &[NodeKey] {
        &self.hidden
    }

    /// Whether it is a node's own record.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.record.is_node()
    }

    /// When it was created, by its owner's clock, in milliseconds since 1970.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.record.created_ms().unwrap_or_else(|| self.record.issued_ms())
    }

    /// When it was last signed, by its owner's clock, in milliseconds since 1970.
    #[must_use]
    pub fn signed_ms(&self) -> u64 {
        self.record.issued_ms()
    }

    /// When it dies unless it is signed anew, in milliseconds since 1970.
    #[must_use]
    pub fn expires_ms(&self) -> u64 {
        self.record.expires_ms()
    }

    /// Where the entry is served; empty if nowhere.
    #[must_use]
    pub fn public_url(&self) -> &str {
        let members = self.document().and_then(|document| document.root().as_object());
        let url = members.and_then(|members| members.get("asset_registry_public_url"));
        url.and_then(|url| url.as_str()).unwrap_or_default()
    }
}

/// One node as its own record tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its public key.
    pub key: NodeKey,
    /// Names its asset database.
    pub assets_db_id: AssetsDbId,
    /// What it says of itself.
    pub record: NodeRecord,
    /// When it last signed that, by its own clock, in milliseconds since 1970.
    pub issued_ms: u64,
}

#[cfg(test)]
mod tests {
    use assetmesh_protocol::registry::{Record, Version};

    use super::*;
    use crate::registry::test_kit::{NOW, blank, description, entry, id, node, sign_at};

    fn created(seed: u8, created_ms: u64, seq: u64) -> Arc<Verified> {
        let payload = Payload::Entry(assetmesh_protocol::registry::RegistryEntry {
            created_ms,
            ..entry(&seed.to_string())
        });
        sign_at(seed, Record { payload, version: Version { epoch: 0, seq }, ..blank(seed, "own-1") })
    }

    fn view(records: &[Arc<Verified>]) -> View {
        let mut view = View::default();
        records.iter().for_each(|record| drop(view.map.insert(record.clone())));
        view
    }

    #[test]
    fn of_one_id_the_oldest_entry_shows_whoever_changed_last() {
        for (first, second) in [(NOW, NOW + 9), (NOW + 9, NOW)] {
            let records = [created(4, NOW - 9, first), created(3, NOW, second)];
            let entry = view(&records).entry(&id("own-1"), NOW).unwrap();
            assert_eq!((entry.owner(), entry.hidden_owners()), (node(4), [node(3)].as_slice()));
            assert_eq!(view(&records).entries(NOW).count(), 1);
        }
    }

    #[test]
    fn of_two_made_at_one_time_the_smaller_owner_key_shows() {
        let entry = view(&[created(3, NOW, NOW), created(4, NOW, NOW)]).entry(&id("own-1"), NOW).unwrap();
        assert_eq!(entry.owner(), node(3).min(node(4)));
    }

    #[test]
    fn what_is_deleted_expired_or_unknown_does_not_show() {
        let live = created(3, NOW, NOW);
        let deleted = sign_at(4, blank(4, "own-1"));
        let unknown = Payload::Unknown { kind: 9, bytes: Vec::new() };
        let unknown = sign_at(5, Record { payload: unknown, ..blank(5, "own-1") });
        let all = view(&[live.clone(), deleted, unknown]);
        let entry = all.entry(&id("own-1"), NOW).unwrap();
        assert_eq!((entry.owner(), entry.hidden_owners()), (node(3), [].as_slice()));
        assert_eq!(all.entries(live.expires_ms() - 1).count(), 1);
        assert!(all.entry(&id("own-1"), live.expires_ms()).is_none());
        assert_eq!(all.entries(live.expires_ms()).count(), 0);
    }

    #[test]
    fn a_member_is_one_as_long_as_its_record_holds() {
        let own = EntryId::of_node(&node(3));
        let payload = Payload::Node(description("three"));
        let record = sign_at(3, Record { payload, ..blank(3, own.as_str()) });
        let mut view = view(std::slice::from_ref(&record));
        Arc::make_mut(&mut view.members).insert(node(3), record.clone());
        let members = view.members(NOW);
        assert_eq!((members[0].key, members[0].record.name.as_str()), (node(3), "three"));
        assert!(view.members(record.expires_ms()).is_empty());
    }
}
