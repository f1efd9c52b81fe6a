//! What a question to a whole federation takes, beside what each node takes for its own part of the answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::documents::{batch_filter, document};
use super::{Measured, together};
use crate::api::Api;
use crate::cluster::Cluster;
use crate::http::Client;
use crate::http::request::{Method, Request};

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 8;
/// Rows of each answer, about as many of each node.
const ROWS: usize = 100;

/// The same questions, asked of all and of each.
#[derive(Debug)]
pub struct Federated {
    /// Of the whole federation, on one node after the other.
    pub everywhere: Measured,
    /// Of each node by itself: the slowest answer of each round.
    pub slowest_alone: Measured,
}

/// Spreads documents over nodes and asks for a hundred of them, again and again.
///
/// # Errors
/// If a node cannot be started or filled, or an answer is not whole.
pub fn time_federated(nodes: usize, documents: u64, rounds: u64) -> Result<Federated> {
    let cluster = Cluster::start(nodes)?;
    cluster.wait_alive(ALIVE_WITHIN)?;
    let count = usize::try_from(documents)?;
    let next = AtomicUsize::new(0);
    together(CLIENTS, |_| {
        let mut apis: Vec<Api> = (0..nodes).map(|at| cluster.api(at)).collect();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(Vec::new());
            }
            let answer = apis[number % nodes].create(&document(number as u64))?;
            ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
        }
    })?;
    let mut clients: Vec<Client> = (0..nodes).map(|at| Client::new(cluster.node(at).address())).collect();
    // The first answers fill caches and open connections.
    ask_all(&mut clients, documents, rounds.div_ceil(10))?;
    ask_all(&mut clients, documents, rounds)
}

fn ask_all(clients: &mut [Client], documents: u64, rounds: u64) -> Result<Federated> {
    let begun = Instant::now();
    let (mut everywhere, mut slowest) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let filter = batch_filter(round, documents);
        let request = |scope: &str| Request::json(Method::Post, format!("/assets?scope={scope}"), &filter);
        let at = usize::try_from(round)? % clients.len();
        let (took, rows) = time(&mut clients[at], &request("federation"))?;
        ensure!(rows == ROWS, "{rows} rows of {ROWS} for {filter}");
        everywhere.push(took);
        let mut alone = Duration::ZERO;
        for client in clients.iter_mut() {
            alone = alone.max(time(client, &request("local"))?.0);
        }
        slowest.push(alone);
    }
    let (everywhere, slowest_alone) = (Measured::of(begun, everywhere), Measured::of(begun, slowest));
    Ok(Federated { everywhere, slowest_alone })
}

/// How long an answer took, and how many rows it has.
fn time(client: &mut Client, request: &Request) -> Result<(Duration, usize)> {
    let sent = Instant::now();
    let response = client.call(request)?;
    let took = sent.elapsed();
    ensure!(response.status == 200, "{} {}", response.status, response.text());
    let answer = response.json()?;
    ensure!(answer["federation"]["complete"] == true, "{}", answer["federation"]);
    Ok((took, answer["data"].as_array().map_or(0, Vec::len)))
}
