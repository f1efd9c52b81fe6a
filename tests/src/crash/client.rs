//! One client of a fault run: it uploads, updates, renames and deletes its own assets, one at a time,
//! and keeps the ledger of what was acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::ledger::{Asset, Change, Ledger, Step, uri_of};
use crate::api::Api;
use crate::content::Content;
use crate::http::request::{Method, Request, encode_segment};
use crate::http::response::Response;
use crate::random::Random;

/// Few names, so that one is created, changed and deleted often.
const NAMES: usize = 16;
/// Contents that several clients share, so that references are counted.
const SHARED_CONTENTS: u64 = 12;
const GROUP: usize = 16 * 1024;
const CHUNK: usize = 63 * GROUP;

/// A client, which lives longer than the nodes it calls.
#[derive(Debug)]
pub(crate) struct Client {
    owner: u64,
    random: Random,
    pub(crate) ledger: Ledger,
    revisions: u64,
    /// Uris that changed, or may have, since this was last emptied.
    pub(crate) touched: Vec<String>,
    pub(crate) acknowledged: u64,
    pub(crate) violations: Vec<String>,
}

/// A request, the status that must answer it, and what it changes.
struct Action {
    request: Request,
    status: u16,
    change: Change,
}

impl Client {
    pub(crate) fn new(owner: u64, random: Random) -> Self {
        Self {
            owner,
            random,
            ledger: Ledger::default(),
            revisions: 0,
            touched: Vec::new(),
            acknowledged: 0,
            violations: Vec::new(),
        }
    }

    pub(crate) const fn owner(&self) -> u64 {
        self.owner
    }

    /// Calls the node until it breaks. `cut` says that from now on it may.
    pub(crate) fn work(&mut self, address: SocketAddr, cut: &AtomicBool) {
        let mut api = Api::new(address);
        loop {
            let Action { request, status, change } = self.next_action();
            self.touched.extend(change.iter().map(|step| step.uri.clone()));
            self.ledger.begin(change);
            let answer = api.call(&request);
            let cut = cut.load(Ordering::Acquire);
            match answer {
                Ok(response) if response.status == status => {
                    self.ledger.acknowledge();
                    self.acknowledged += 1;
                }
                // The ledger keeps it open whether the change happened.
                Ok(_) | Err(_) if cut => return,
                Ok(response) => self.judge_refusal(&request, status, &response),
                Err(error) => {
                    self.violations.push(format!("unbroken node: {error:#}"));
                    return;
                }
            }
        }
    }

    fn judge_refusal(&mut self, request: &Request, status: u16, response: &Response) {
        // Refused for now is an honest answer, and promises that nothing was kept.
        self.ledger.refuse();
        if response.status != 503 {
            let call = format!("{:?} {}", request.method(), request.target());
            let answer = format!("{} {}", response.status, response.text());
            self.violations.push(format!("{call}: {answer} instead of {status}"));
        }
    }

    fn next_action(&mut self) -> Action {
        let name = self.any_name();
        match self.ledger.get(&uri_of(&name)).cloned() {
            None => self.act_on_nothing(name),
            Some(asset) => self.act_on(asset),
        }
    }

    fn any_name(&mut self) -> String {
        format!("client-{}/asset {}", self.owner, self.random.below(NAMES))
    }

    fn act_on_nothing(&mut self, name: String) -> Action {
        let uri = uri_of(&name);
        match self.random.within(0..100) {
            0..80 => {
                let asset = self.new_asset(name, true);
                Action { request: upload(&asset), status: 201, change: creation(asset) }
            }
            80..90 => {
                let asset = self.new_asset(name, false);
                let request = Request::json(Method::Post, "/asset", &asset.description());
                Action { request, status: 201, change: creation(asset) }
            }
            90..95 => Action { request: deletion(&uri), status: 404, change: Change::new() },
            _ => {
                let request = put(&uri, &json!({"asset_metadata.revision": 0}));
                Action { request, status: 404, change: Change::new() }
            }
        }
    }

    fn act_on(&mut self, asset: Asset) -> Action {
        let uri = asset.uri();
        match self.random.within(0..100) {
            0..40 => {
                let revision = self.next_revision();
                let request = put(&uri, &json!({"asset_metadata.revision": revision}));
                let after = Asset { revision, ..asset.clone() };
                let change = vec![Step { uri, before: Some(asset), after: Some(after) }];
                Action { request, status: 200, change }
            }
            40..55 => self.rename(asset),
            55..80 => {
                let request = deletion(&uri);
                let change = vec![Step { uri, before: Some(asset), after: None }];
                Action { request, status: 200, change }
            }
            // The same again is safe for uploads; anything else under a taken uri is a conflict.
            80..90 if asset.content.is_some() => {
                Action { request: upload(&asset), status: 200, change: Change::new() }
            }
            _ => {
                let other = self.new_asset(asset.name, true);
                Action { request: upload(&other), status: 409, change: Change::new() }
            }
        }
    }

    fn rename(&mut self, asset: Asset) -> Action {
        let name = self.any_name();
        let (from, to) = (asset.uri(), uri_of(&name));
        let revision = self.next_revision();
        let request = put(&from, &json!({"asset_name": name, "asset_metadata.revision": revision}));
        let after = Asset { name, revision, ..asset.clone() };
        if from == to {
            let change = vec![Step { uri: from, before: Some(asset), after: Some(after) }];
            return Action { request, status: 200, change };
        }
        if self.ledger.get(&to).is_some() {
            return Action { request, status: 409, change: Change::new() };
        }
        let change = vec![
            Step { uri: from, before: Some(asset), after: None },
            Step { uri: to, before: None, after: Some(after) },
        ];
        Action { request, status: 200, change }
    }

    fn new_asset(&mut self, name: String, stored: bool) -> Asset {
        let revision = self.next_revision();
        let content = stored.then(|| self.any_content());
        Asset { name, owner: self.owner, revision, content }
    }

    fn next_revision(&mut self) -> u64 {
        self.revisions += 1;
        self.owner * 1_000_000_000 + self.revisions
    }

    fn any_content(&mut self) -> Content {
        if self.random.chance(30) {
            let seed = self.random.within(0..SHARED_CONTENTS);
            // The size follows from the seed, else it would be another content.
            return Content { seed, size: size_of(&mut Random::seeded(seed)) };
        }
        Content { seed: self.random.number(), size: size_of(&mut self.random) }
    }
}

/// Small ones, the edges of the layout, and some of several chunks.
fn size_of(random: &mut Random) -> usize {
    const EDGES: [usize; 8] = [0, 1, GROUP - 1, GROUP, GROUP + 1, CHUNK - 1, CHUNK, CHUNK + 1];
    match random.within(0..100) {
        0..60 => 1 + random.below(4 * 1024),
        60..75 => *random.pick(&EDGES),
        75..90 => 1 + random.below(400 * 1024),
        _ => CHUNK + random.below(3 * CHUNK),
    }
}

fn creation(asset: Asset) -> Change {
    vec![Step { uri: asset.uri(), before: None, after: Some(asset) }]
}

fn upload(asset: &Asset) -> Request {
    let bytes = asset.content.map(Content::bytes).unwrap_or_default();
    Request::upload("content.bin", &bytes, &asset.description())
}

fn put(uri: &str, patch: &serde_json::Value) -> Request {
    Request::json(Method::Put, format!("/asset/{}", encode_segment(uri)), patch)
}

fn deletion(uri: &str) -> Request {
    Request::new(Method::Delete, format!("/asset/{}", encode_segment(uri)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_tries_every_kind_of_change() {
        let mut client = Client::new(3, Random::seeded(1));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let action = client.next_action();
            seen.insert((action.request.method().name(), action.status));
            client.ledger.begin(action.change);
            client.ledger.acknowledge();
        }
        for kind in [
            ("POST", 201),
            ("POST", 200),
            ("POST", 409),
            ("PUT", 200),
            ("PUT", 404),
            ("PUT", 409),
            ("DELETE", 200),
            ("DELETE", 404),
        ] {
            assert!(seen.contains(&kind), "{kind:?} never tried: {seen:?}");
        }
    }

    #[test]
    fn a_shared_content_is_the_same_for_every_client() {
        let mut shared = std::collections::BTreeMap::new();
        for owner in 0..4 {
            let mut client = Client::new(owner, Random::seeded(owner));
            for _ in 0..300 {
                let content = client.any_content();
                if content.seed < SHARED_CONTENTS {
                    assert_eq!(*shared.entry(content.seed).or_insert(content), content);
                }
            }
        }
        assert_eq!(shared.len(), 12);
    }
}
