//! Clients: they create, change and delete entries at any node, also such as another node owns.

use std::sync::Arc;

use assetmesh_node::registry::{Asker, Change, Input, Way, Write};
use assetmesh_protocol::document::Document;
use assetmesh_protocol::registry::{EntryId, Patch, RegistryEntry, Verified};

use super::node::{Packet, Ticket};
use super::world::World;

/// An entry of no interest.
pub(super) fn entry(name: &str) -> RegistryEntry {
    RegistryEntry {
        created_ms: 0,
        name: name.to_owned(),
        metadata: Document::from_json(b"{\"framework\":\"PyTorch\"}").expect("this is JSON"),
        tags: Vec::new(),
        public_url: String::new(),
    }
}

impl World {
    /// One client does something at one node.
    pub(super) fn write(&mut self) {
        let usable = (0..self.nodes.len()).filter(|at| self.is_usable(*at)).collect::<Vec<_>>();
        if usable.is_empty() {
            return;
        }
        let at = *self.random.pick(&usable);
        let entries = self.live_entries(at);
        let number = self.random.number();
        if entries.is_empty() || self.random.chance(40) {
            let id = EntryId::new(format!("entry-{number:016x}")).expect("a short id");
            self.change_here(at, id, Change::Create(entry("first")));
            return;
        }
        let record = self.random.pick(&entries).clone();
        let change = if self.random.chance(55) {
            let text = format!("{{\"asset_registry_name\":\"{number}\"}}");
            Change::Update(Patch::from_json(&text).expect("a name can be set"))
        } else {
            Change::Delete
        };
        match self.index.get(&record.owner()) {
            Some(&owner) if owner != at => {
                self.tickets += 1;
                let ticket = self.tickets;
                if let Some(cores) = &mut self.nodes[at].cores {
                    cores.tickets.insert(ticket, Ticket::Client);
                }
                let entry = record.entry().clone();
                self.post(at, owner, Packet::Forward { ticket, entry, change });
            }
            _ => self.change_here(at, record.entry().clone(), change),
        }
    }

    fn is_usable(&self, at: usize) -> bool {
        self.nodes[at].answers(self.now_ms) && self.nodes[at].is_sane()
    }

    /// Entries that are live on this node and whose owner a client can trust, in one order on every run.
    fn live_entries(&self, at: usize) -> Vec<Arc<Verified>> {
        let Some(cores) = &self.nodes[at].cores else { return Vec::new() };
        let sane = |record: &&Arc<Verified>| {
            self.index.get(&record.owner()).is_some_and(|owner| self.nodes[*owner].is_sane())
        };
        let live = cores.registry.map().iter().filter(|record| !record.is_deleted() && !record.is_node());
        live.filter(sane).cloned().collect()
    }

    fn change_here(&mut self, at: usize, entry: EntryId, change: Change) {
        self.tickets += 1;
        let ticket = self.tickets;
        if let Some(cores) = &mut self.nodes[at].cores {
            cores.tickets.insert(ticket, Ticket::Client);
            self.registry(at, Input::Write(Write { ticket, entry, change, asker: Asker::Client }));
        }
    }

    /// A change arrives at the owner from another node.
    pub(super) fn forwarded(&mut self, at: usize, asked: (usize, u64), entry: EntryId, change: Change) {
        self.tickets += 1;
        let ticket = self.tickets;
        if let Some(cores) = &mut self.nodes[at].cores {
            cores.tickets.insert(ticket, Ticket::Peer(asked.0, asked.1));
            self.registry(at, Input::Write(Write { ticket, entry, change, asker: Asker::Peer }));
        }
    }

    /// The owner has answered: its envelope is merged before the client is told.
    pub(super) fn forward_done(
        &mut self,
        at: usize,
        owner: usize,
        ticket: u64,
        record: Option<Arc<Verified>>,
    ) {
        let Some(cores) = &mut self.nodes[at].cores else { return };
        let (Some(Ticket::Client), Some(record)) = (cores.tickets.remove(&ticket), record) else { return };
        let from = self.nodes[owner].key;
        self.registry(at, Input::Heard { from, record: record.clone(), way: Way::Sync });
        self.ledger.acknowledge(record);
    }
}
