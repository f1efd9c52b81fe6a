//! A federation of real processes on loopback: started, killed, cut apart and asked by number.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::http::request::{Method, Request, encode_segment};
use crate::http::response::Response;
use crate::node_process::{NodeOptions, NodeProcess};
use crate::wait::wait_until;

/// Several nodes that know of each other.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    arguments: Vec<String>,
    nodes: Vec<Option<NodeProcess>>,
}

impl Cluster {
    /// Starts `count` nodes, one after the other; each begins with all that run already.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start(count: usize) -> Result<Self> {
        Self::start_with(count, &[])
    }

    /// As [`Cluster::start`], with more arguments of `node run` for each.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start_with(count: usize, arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut cluster = Self { folder: TempDir::new()?, arguments, nodes: Vec::new() };
        for at in 0..count {
            cluster.nodes.push(None);
            cluster.restart(at)?;
        }
        Ok(cluster)
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where node `at` keeps its data.
    #[must_use]
    pub fn data_dir(&self, at: usize) -> PathBuf {
        self.folder.path().join(at.to_string())
    }

    /// The running node `at`.
    ///
    /// # Panics
    /// If it was killed.
    #[must_use]
    pub fn node(&self, at: usize) -> &NodeProcess {
        self.nodes[at].as_ref().expect("the node runs")
    }

    /// A caller of node `at`.
    #[must_use]
    pub fn api(&self, at: usize) -> Api {
        self.node(at).api()
    }

    /// Starts node `at`, on the data that it has, with all that run to begin with.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self, at: usize) -> Result<()> {
        let mut options = NodeOptions::new(&self.data_dir(at)).argument("--name").argument(format!("n{at}"));
        for other in self.nodes.iter().flatten() {
            options = options.argument("--bootstrap").argument(p2p_address(other)?);
        }
        for argument in &self.arguments {
            options = options.argument(argument);
        }
        self.nodes[at] = Some(options.start()?);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at] = None;
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn stop(&mut self, at: usize) -> Result<()> {
        let status = self.nodes[at].take().context("the node runs")?.stop()?;
        ensure!(status.success(), "node {at} ended with {status}");
        Ok(())
    }

    /// Removes the data of a killed node.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn wipe(&mut self, at: usize) -> Result<()> {
        ensure!(self.nodes[at].is_none(), "node {at} runs");
        Ok(std::fs::remove_dir_all(self.data_dir(at))?)
    }

    /// The `assets_db_id` of a running node.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn id(&self, at: usize) -> Result<String> {
        Ok(self.api(at).node()?["assets_db_id"].as_str().context("an assets_db_id")?.to_owned())
    }

    /// What node `at` says of its peers: state by `assets_db_id`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn states(&self, at: usize) -> Result<BTreeMap<String, String>> {
        let response = self.api(at).call(&Request::get("/v1/peers"))?;
        let answer = response.json()?;
        let peers = answer["data"].as_array().context("`data` is a list")?;
        let text = |peer: &Value, name: &str| peer[name].as_str().map(str::to_owned).context("a text");
        peers.iter().map(|peer| Ok((text(peer, "assets_db_id")?, text(peer, "state")?))).collect()
    }

    /// Waits until each running node sees all other running nodes alive.
    ///
    /// # Errors
    /// If that takes longer than `deadline`; says who does not see whom.
    pub fn wait_alive(&self, deadline: Duration) -> Result<()> {
        let running: Vec<usize> = (0..self.len()).filter(|&at| self.nodes[at].is_some()).collect();
        let ids: Vec<String> = running.iter().map(|&at| self.id(at)).collect::<Result<_>>()?;
        for &at in &running {
            let own = self.id(at)?;
            let mut last = BTreeMap::new();
            let seen = wait_until(deadline, || {
                last = self.states(at).ok()?;
                let alive = |id: &&String| last.get(*id).is_some_and(|state| state == "alive");
                ids.iter().filter(|id| **id != own).all(|id| alive(&id)).then_some(())
            });
            ensure!(seen.is_some(), "node {at} sees {last:?} of {ids:?}");
        }
        Ok(())
    }

    /// Waits until node `at` says that `id` is in a state.
    ///
    /// # Errors
    /// If that takes longer than `deadline`.
    pub fn wait_state(&self, at: usize, id: &str, state: &str, deadline: Duration) -> Result<()> {
        let mut last = None;
        let seen = wait_until(deadline, || {
            last = self.states(at).ok()?.remove(id);
            (last.as_deref() == Some(state)).then_some(())
        });
        seen.with_context(|| format!("node {at} says {last:?} of {id} and not {state:?} after {deadline:?}"))
    }

    /// Cuts the two sides from each other. An empty side heals all.
    ///
    /// # Errors
    /// If a node does not take its block list.
    pub fn partition(&self, left: &[usize], right: &[usize]) -> Result<()> {
        for at in 0..self.len() {
            let others = if left.contains(&at) {
                right
            } else if right.contains(&at) {
                left
            } else {
                &[]
            };
            let ids: Vec<String> = others.iter().map(|&other| self.id(other)).collect::<Result<_>>()?;
            let request = Request::json(Method::Put, "/v1/peers/blocked", &json!({"assets_db_ids": ids}));
            let response = self.api(at).call(&request)?;
            ensure!(response.status == 200, "node {at}: {}", response.text());
        }
        Ok(())
    }

    /// Undoes a partition.
    ///
    /// # Errors
    /// If a node does not take its block list.
    pub fn heal(&self) -> Result<()> {
        self.partition(&[], &[])
    }

    /// Registers an entry with this id and metadata on node `at`.
    ///
    /// # Errors
    /// If it is not created.
    pub fn register(&self, at: usize, id: &str, metadata: &Value) -> Result<()> {
        let body =
            json!({"asset_registry_id": id, "asset_registry_name": id, "asset_registry_metadata": metadata});
        let response = self.api(at).call(&Request::json(Method::Post, "/asset_registry", &body))?;
        ensure!(response.status == 201, "node {at}: {} {}", response.status, response.text());
        Ok(())
    }

    /// Calls `/asset_registry/<id>` of node `at`.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn entry(&self, at: usize, method: Method, id: &str, body: Option<&Value>) -> Result<Response> {
        let target = format!("/asset_registry/{}", encode_segment(id));
        let request = match body {
            Some(body) => Request::json(method, target, body),
            None => Request::new(method, target),
        };
        self.api(at).call(&request)
    }

    /// All entries of the registry as node `at` has them, by id.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn entries(&self, at: usize, filter: &Value) -> Result<BTreeMap<String, Value>> {
        let response = self.api(at).call(&Request::json(Method::Post, "/asset_registries", filter))?;
        ensure!(response.status == 200, "node {at}: {} {}", response.status, response.text());
        let mut answer = response.json()?;
        let rows = answer["data"].as_array_mut().context("`data` is a list")?;
        let id = |row: &Value| row["asset_registry_id"].as_str().map(str::to_owned).context("an id");
        rows.drain(..).map(|row| Ok((id(&row)?, row))).collect()
    }

    /// Waits until all running nodes hold the same registry, and gives it.
    ///
    /// # Errors
    /// If that takes longer than `deadline`; says what differs.
    pub fn wait_same_registry(&self, deadline: Duration) -> Result<BTreeMap<String, Value>> {
        let running: Vec<usize> = (0..self.len()).filter(|&at| self.nodes[at].is_some()).collect();
        let mut last = Vec::new();
        let same = wait_until(deadline, || {
            last = running.iter().map(|&at| self.entries(at, &json!({})).ok()).collect::<Option<_>>()?;
            last.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        });
        let keys: Vec<Vec<_>> = last.iter().map(|map| map.keys().collect()).collect();
        ensure!(same.is_some(), "the registries differ: {keys:?}");
        last.pop().context("a node runs")
    }
}

/// The first multiaddr that a node is bound to.
pub(crate) fn p2p_address(node: &NodeProcess) -> Result<String> {
    let facts = node.api().node()?;
    Ok(facts["p2p_addrs"][0].as_str().context("a p2p address")?.to_owned())
}
