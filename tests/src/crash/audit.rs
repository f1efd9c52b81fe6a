//! Compares everything a restarted node serves with the ledgers of all clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::client::Client;
use super::ledger::{Asset, Ending};
use crate::api::Api;
use crate::content::Content;
use crate::random::Random;
use crate::wait::wait_until;

/// The sweep runs in the background after the start; this is how long it may take.
const SWEEP_DEADLINE: Duration = Duration::from_secs(10);

/// What one audit found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<String>,
    pub(crate) done: u64,
    pub(crate) undone: u64,
    pub(crate) objects_read: u64,
}

/// Which objects are read, besides those of the assets that were touched.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Objects {
    /// All of them.
    All,
    /// This many, chosen at random.
    Some(usize),
}

/// Settles what was on its way, then checks rows, index, bytes and orphans.
///
/// # Errors
/// If the node does not answer.
pub(crate) fn audit(
    api: &mut Api,
    clients: &mut [Client],
    objects: Objects,
    random: &mut Random,
) -> Result<Findings> {
    let mut findings = Findings::default();
    let rows = all_rows(api, &mut findings)?;
    for client in clients.iter_mut() {
        match client.ledger.settle(&rows) {
            Ending::Idle => {}
            Ending::Undone => findings.undone += 1,
            Ending::Done => findings.done += 1,
            Ending::Half(what) => findings.violations.push(format!("half there: {what}")),
        }
        findings.violations.extend(client.ledger.losses(&rows));
        findings.violations.append(&mut client.violations);
    }
    let known: BTreeSet<String> =
        clients.iter().flat_map(|client| client.ledger.assets().map(Asset::uri)).collect();
    for (uri, row) in rows.iter().filter(|(uri, _)| !known.contains(*uri)) {
        findings.violations.push(format!("{uri} is there and nobody made it: {row}"));
    }
    check_one_by_one(api, clients, &mut findings)?;
    check_index(api, clients, &mut findings)?;
    check_objects(api, clients, objects, random, &mut findings)?;
    check_orphans(api, clients, &mut findings)?;
    Ok(findings)
}

fn all_rows(api: &mut Api, findings: &mut Findings) -> Result<BTreeMap<String, Value>> {
    let mut rows = BTreeMap::new();
    for row in api.query_all(&json!({})).context("list all assets")? {
        let uri = row["asset_uri"].as_str().unwrap_or_default().to_owned();
        if let Some(other) = rows.insert(uri, row) {
            findings.violations.push(format!("two rows of one uri, one of them {other}"));
        }
    }
    Ok(rows)
}

/// What the uri index says of each asset that was touched.
fn check_one_by_one(api: &mut Api, clients: &mut [Client], findings: &mut Findings) -> Result<()> {
    for client in clients {
        let uris: BTreeSet<String> = client.touched.iter().cloned().collect();
        for uri in uris {
            let response = api.find(&uri)?;
            let wrong = match (client.ledger.get(&uri), response.status) {
                (None, 404) => None,
                (Some(asset), 200) => asset.difference(&response.json()?["data"]),
                (expected, status) => Some(format!("status {status} for {expected:?}")),
            };
            findings.violations.extend(wrong.map(|why| format!("GET {uri}: {why}")));
        }
    }
    Ok(())
}

/// What the index over metadata says of each owner, and of one revision of each.
fn check_index(api: &mut Api, clients: &[Client], findings: &mut Findings) -> Result<()> {
    for client in clients {
        let assets: Vec<&Asset> = client.ledger.assets().collect();
        let mut queries = vec![(json!({"asset_metadata.owner": client.owner()}), assets.clone())];
        if let Some(newest) = assets.iter().max_by_key(|asset| asset.revision) {
            queries.push((json!({"asset_metadata.revision": newest.revision}), vec![*newest]));
        }
        for (filter, assets) in queries {
            let expected: BTreeSet<String> = assets.iter().map(|asset| asset.uri()).collect();
            let rows = api.query_all(&filter)?;
            let found: BTreeSet<String> =
                rows.iter().filter_map(|row| Some(row["asset_uri"].as_str()?.to_owned())).collect();
            if found != expected {
                findings.violations.push(format!("{filter} finds {found:?} and not {expected:?}"));
            }
        }
    }
    Ok(())
}

fn check_objects(
    api: &mut Api,
    clients: &mut [Client],
    objects: Objects,
    random: &mut Random,
    findings: &mut Findings,
) -> Result<()> {
    let mut chosen = BTreeSet::new();
    for client in clients.iter_mut() {
        for uri in std::mem::take(&mut client.touched) {
            chosen.extend(client.ledger.get(&uri).and_then(|asset| asset.content));
        }
    }
    let all: Vec<Content> = contents(clients).into_iter().collect();
    match objects {
        Objects::All => chosen.extend(&all),
        Objects::Some(count) if !all.is_empty() => {
            chosen.extend((0..count).map(|_| *random.pick(&all)));
        }
        Objects::Some(_) => {}
    }
    for content in chosen {
        findings.objects_read += 1;
        match api.object(&content.id()) {
            Ok(response) if response.status != 200 => {
                let answer = format!("{} {}", response.status, response.text());
                findings.violations.push(format!("object of {content:?}: {answer}"));
            }
            Ok(response) if response.body != content.bytes() => {
                findings.violations.push(format!("object of {content:?}: wrong bytes"));
            }
            Ok(_) => {}
            Err(error) => findings.violations.push(format!("object of {content:?}: {error:#}")),
        }
    }
    Ok(())
}

/// After the sweep the node holds exactly the contents that some asset names.
fn check_orphans(api: &mut Api, clients: &[Client], findings: &mut Findings) -> Result<()> {
    // By id: two empty contents are one, whatever their seeds.
    let contents: BTreeMap<String, usize> =
        contents(clients).into_iter().map(|content| (content.id(), content.size)).collect();
    let assets: usize = clients.iter().map(|client| client.ledger.assets().count()).sum();
    let bytes: usize = contents.values().sum();
    let expected = json!([assets, contents.len(), bytes]);
    let mut last = Value::Null;
    wait_until(SWEEP_DEADLINE, || {
        let node = api.node().ok()?;
        last = json!([node["assets"], node["blobs"], node["bytes"]]);
        (last == expected).then_some(())
    });
    if last != expected {
        let text = format!("[assets, blobs, bytes] are {last} and not {expected} after the sweep");
        findings.violations.push(text);
    }
    Ok(())
}

fn contents(clients: &[Client]) -> BTreeSet<Content> {
    clients.iter().flat_map(|client| client.ledger.assets()).filter_map(|a| a.content).collect()
}
