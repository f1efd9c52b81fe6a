//! All assets of a cluster in one place, and what a query of them must give: the filter run over the union, in the
//! order (sort key, record id, owner). It holds what the nodes' own catalogs say, checked against what was posted.

mod questions;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Sort, SortKey};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::cluster::Cluster;
use crate::http::request::{Method, Request, encode_segment};
use crate::http::response::Response;
use crate::random::Random;
pub(crate) use questions::{Assets, Question, generated, recorded, refused};

/// Every asset of a cluster.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// By record id, then owner: the order without a sort.
    rows: Vec<Row>,
    by_name: BTreeMap<String, usize>,
}

/// One asset.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    record: String,
    /// The `assets_db_id` of the node that has it.
    pub(crate) owner: String,
    document: Document,
}

/// Why there is no answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not of the language.
    Bad(String),
    /// It fails on a document; whether a node gets as far as that document is its own affair.
    Fails(String),
}

/// One page of `POST /assets`, as it came.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    data: Vec<Box<RawValue>>,
    /// Where the next page begins.
    pub(crate) next_cursor: Option<String>,
    /// Who answered.
    #[serde(default)]
    pub(crate) federation: Federation,
}

/// Who answered.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Federation {
    /// Whether all did.
    pub(crate) complete: bool,
    /// Those who did not.
    pub(crate) missing: Vec<Missing>,
}

/// One who did not answer in full.
#[derive(Debug, Deserialize)]
pub(crate) struct Missing {
    /// Its asset database.
    pub(crate) assets_db_id: String,
    /// Why.
    pub(crate) reason: String,
}

impl Page {
    /// Reads an answer, of whatever status.
    ///
    /// # Errors
    /// If it is not JSON of this form.
    pub(crate) fn of(response: &Response) -> Result<Self> {
        serde_json::from_slice(&response.body)
            .with_context(|| format!("status {}: {:?}", response.status, response.text()))
    }
}

/// `POST /assets?PARAMETERS` with a filter as text.
#[must_use]
pub(crate) fn question(parameters: &str, filter: &str) -> Request {
    Request::new(Method::Post, format!("/assets?{parameters}"))
        .with_header("Content-Type", "application/json")
        .with_body(filter.as_bytes().to_vec())
}

impl Oracle {
    /// Posts assets to nodes of a cluster, each to one at random, and reads all of them back, node by node. Their
    /// `asset_name` must tell them apart.
    ///
    /// # Errors
    /// If one is refused, or reads otherwise than it was posted.
    pub(crate) fn fill(
        cluster: &Cluster,
        clients: u64,
        count: usize,
        seed: u64,
        asset: impl Fn(usize) -> Value + Sync,
    ) -> Result<Self> {
        let mut random = Random::seeded(seed);
        let homes: Vec<usize> = (0..count).map(|_| random.below(cluster.len())).collect();
        let next = AtomicUsize::new(0);
        let records = Mutex::new(BTreeMap::new());
        let posting = &|| -> Result<()> {
            let mut apis: Vec<Api> = (0..cluster.len()).map(|at| cluster.api(at)).collect();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(home) = homes.get(number) else { return Ok(()) };
                let asset = asset(number);
                let answer = apis[*home].create(&asset)?;
                ensure!(answer.status == 201, "{asset}: {} {}", answer.status, answer.text());
                let record = answer.json()?["data"]["id"].as_str().context("a record id")?.to_owned();
                let name = asset["asset_name"].as_str().context("an asset_name")?.to_owned();
                records.lock().expect("no client panics").insert(name, record);
            }
        };
        thread::scope(|scope| {
            let started: Vec<_> = (0..clients).map(|_| scope.spawn(posting)).collect();
            started.into_iter().try_for_each(|client| client.join().expect("a client does not panic"))
        })?;
        let records = records.into_inner().expect("no client panics");
        ensure!(records.len() == count, "{} names of {count} assets", records.len());
        let mut rows = Vec::with_capacity(count);
        for at in 0..cluster.len() {
            rows.extend(read_node(cluster, at, &records)?);
        }
        let oracle = Self::of(rows)?;
        ensure!(oracle.rows.len() == count, "{} of {count} assets are there", oracle.rows.len());
        (0..count).try_for_each(|number| oracle.check_posted(&asset(number)))?;
        Ok(oracle)
    }

    fn of(mut rows: Vec<Row>) -> Result<Self> {
        rows.sort_by(|a, b| (&a.record, &a.owner).cmp(&(&b.record, &b.owner)));
        let names = rows.iter().enumerate().map(|(at, row)| Ok((row.name()?.to_owned(), at)));
        let by_name = names.collect::<Result<_>>()?;
        Ok(Self { rows, by_name })
    }

    /// Everything that was posted stands in the description as it was.
    fn check_posted(&self, posted: &Value) -> Result<()> {
        let name = posted["asset_name"].as_str().unwrap_or_default();
        let row = &self.rows[*self.by_name.get(name).with_context(|| format!("{name} is not there"))?];
        let posted = Document::from_value(posted)?;
        let (given, kept) = (posted.root().as_object(), row.document.root().as_object());
        let (given, kept) = given.zip(kept).context("descriptions are objects")?;
        for (key, value) in given.iter() {
            let same = kept.get(key).is_some_and(|kept| kept.to_value() == value.to_value());
            ensure!(same, "{key} of {name} was posted as {}", value.to_value());
        }
        Ok(())
    }

    /// How many assets there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The asset with this index.
    #[must_use]
    pub(crate) fn row(&self, at: usize) -> &Row {
        &self.rows[at]
    }

    /// Adds an asset that no node has, just behind another: a control that an answer without it is noticed.
    ///
    /// # Errors
    /// If there is no asset to stand behind.
    pub(crate) fn with_ghost(mut self, random: &mut Random) -> Result<Self> {
        ensure!(!self.is_empty(), "no asset to stand behind");
        let mut ghost = self.rows[random.below(self.rows.len())].clone();
        // Above every digit of a record id.
        ghost.record.push('~');
        let mut value = ghost.document.to_value();
        value["asset_name"] = "ghost".into();
        ghost.document = Document::from_value(&value)?;
        self.rows.push(ghost);
        Self::of(self.rows)
    }

    /// The indexes of all assets that match, in order.
    ///
    /// # Errors
    /// If the question is not of the language, or fails on a document.
    pub(crate) fn answer(&self, question: &Question) -> Result<Vec<usize>, Refusal> {
        let bad = |error: &dyn std::fmt::Display| Refusal::Bad(error.to_string());
        let filter = Filter::parse_json(question.filter.as_bytes()).map_err(|error| bad(&error))?;
        let sort = question.sort.as_deref().map(Sort::parse).transpose().map_err(|error| bad(&error))?;
        let mut found: Vec<(Option<SortKey>, usize)> = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            let root = row.document.root();
            if filter.matches(root).map_err(|error| Refusal::Fails(error.to_string()))? {
                let key = sort.as_ref().map(|sort| sort.key(root)).transpose();
                found.push((key.map_err(|error| Refusal::Fails(error.to_string()))?, at));
            }
        }
        // Indexes already stand in the order of record id and owner.
        found.sort();
        Ok(found.into_iter().map(|(_, at)| at).collect())
    }

    /// The indexes of a page's rows, in its order; each row must be what its owner has.
    ///
    /// # Errors
    /// If a row is not, or is no asset of the cluster.
    pub(crate) fn rows_of(&self, page: &Page) -> Result<Vec<usize>> {
        let found = page.data.iter().map(|text| {
            let document = Document::from_json(text.get().as_bytes())?;
            let name = name_of(&document)?;
            let at = *self.by_name.get(name).with_context(|| format!("a row that nobody posted: {text}"))?;
            ensure!(self.rows[at].document == document, "another row than its owner has: {text}");
            Ok(at)
        });
        found.collect()
    }
}

impl Row {
    fn name(&self) -> Result<&str> {
        name_of(&self.document)
    }
}

fn name_of(document: &Document) -> Result<&str> {
    let name = document.root().as_object().and_then(|object| object.get("asset_name"));
    name.and_then(|name| name.as_str()).context("a row has an asset_name")
}

/// All rows of one node, by itself.
fn read_node(cluster: &Cluster, at: usize, records: &BTreeMap<String, String>) -> Result<Vec<Row>> {
    let (owner, mut api) = (cluster.id(at)?, cluster.api(at));
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let parameters = format!("scope=local&timeout_ms=10000&cursor={}", encode_segment(&cursor));
        let response = api.call(&question(&parameters, "{}"))?;
        ensure!(response.status == 200, "node {at}: {} {}", response.status, response.text());
        let page = Page::of(&response)?;
        ensure!(page.federation.complete, "node {at} does not give all that it has: {}", response.text());
        for text in &page.data {
            let document = Document::from_json(text.get().as_bytes())?;
            let name = name_of(&document)?;
            let record = records.get(name).with_context(|| format!("a row that nobody posted: {text}"))?;
            rows.push(Row { record: record.clone(), owner: owner.clone(), document });
        }
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return Ok(rows),
        }
    }
}

#[cfg(test)]
mod tests;
