//! How many nodes of a big federation a question is put to, and how long its answer takes. Prints `name=value` pairs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assetmesh_tests::{Cluster, description_of, time_queries, wait_until};
use clap::Parser;
use serde_json::{Value, json};

/// Starts a federation of processes on this machine, asks one of them for what another holds, and prints what it
/// measured: with summaries, and with a filter for the same asset that no summary can use.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many nodes.
    #[arg(long, default_value_t = 64)]
    nodes: usize,
    /// Questions of each kind.
    #[arg(long, default_value_t = 1000)]
    rounds: u64,
    /// Assets on each node.
    #[arg(long, default_value_t = 20)]
    assets: usize,
    /// Uploads that are looked for from another node as soon as they are acknowledged.
    #[arg(long, default_value_t = 100)]
    uploads: usize,
}

/// Many processes on few cores take their time to meet.
const MEET_WITHIN: Duration = Duration::from_secs(300);
const WARM_WITHIN: Duration = Duration::from_secs(60);
/// An upload that is not found by then is lost.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> Result<()> {
    let Arguments { nodes, rounds, assets, uploads } = Arguments::parse();
    ensure!(nodes > 1 && rounds > 0, "two nodes and one question are needed");
    let cluster = Cluster::start(nodes)?;
    cluster.wait_alive(MEET_WITHIN)?;
    fill(&cluster, assets)?;

    let asked = |round: u64| {
        let holder = 1 + round as usize % (nodes - 1);
        json!({"asset_metadata.home": format!("{holder}-{}", round as usize % assets)})
    };
    let unhelped = |round: u64| {
        let filter = asked(round);
        json!({"asset_metadata.home": {"$not": {"$ne": filter["asset_metadata.home"]}}})
    };
    let warm = wait_until(WARM_WITHIN, || {
        let share = pruned_share(&cluster, 0, &asked(0)).ok()?;
        (share >= 0.9).then_some(())
    });
    let address = cluster.node(0).address();
    let (with, share) = (time_queries(address, rounds, Some(1), asked)?, mean_share(&cluster, 50, asked)?);
    let without = time_queries(address, rounds, Some(1), unhelped)?;
    println!("nodes={nodes} pruned={:.1}% warm={}", 100.0 * share, warm.is_some());
    println!("pruned: {with}");
    println!("unpruned: {without}");
    println!("{}", Uploads::looked_for(&cluster, uploads)?);
    Ok(())
}

fn fill(cluster: &Cluster, assets: usize) -> Result<()> {
    for at in 0..cluster.len() {
        let mut api = cluster.api(at);
        for number in 0..assets {
            let metadata = json!({"home": format!("{at}-{number}"), "kind": number % 5});
            let answer = api.create(&description_of(&format!("of-{at}-{number}"), &metadata))?;
            ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
        }
    }
    Ok(())
}

/// The part of all nodes that an answer says were pruned.
fn pruned_share(cluster: &Cluster, at: usize, filter: &Value) -> Result<f64> {
    let answer = cluster.api(at).query(filter)?.json()?;
    let federation = &answer["federation"];
    ensure!(federation["complete"] == true, "{federation}");
    let count = |name: &str| federation["nodes"][name].as_f64().context("a count");
    Ok(count("pruned")? / count("known")?)
}

fn mean_share(cluster: &Cluster, rounds: u64, filter: impl Fn(u64) -> Value) -> Result<f64> {
    let shares = (0..rounds).map(|round| pruned_share(cluster, 0, &filter(round)));
    let shares = shares.collect::<Result<Vec<f64>>>()?;
    Ok(shares.iter().sum::<f64>() / shares.len() as f64)
}

/// How long uploads to one node stayed hidden from another.
struct Uploads {
    count: usize,
    at_first: usize,
    longest: Duration,
}

impl Uploads {
    fn looked_for(cluster: &Cluster, count: usize) -> Result<Self> {
        let mut uploads = Self { count, at_first: 0, longest: Duration::ZERO };
        for number in 0..count {
            let (from, to) = (number * 7 % cluster.len(), (number * 11 + 5) % cluster.len());
            let filter = json!({"asset_metadata.upload": number});
            // Now it goes by summaries, if it has them.
            pruned_share(cluster, to, &filter)?;
            let description = description_of(&format!("upload-{number}"), &json!({ "upload": number }));
            let answer = cluster.api(from).create(&description)?;
            ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
            let (acknowledged, mut tries) = (Instant::now(), 0);
            let found = wait_until(FOUND_WITHIN, || {
                tries += 1;
                let answer = cluster.api(to).query(&filter).ok()?.json().ok()?;
                answer["data"].as_array().is_some_and(|rows| rows.len() == 1).then_some(())
            });
            ensure!(found.is_some(), "upload {number} on node {from} is not found on node {to}");
            uploads.longest = uploads.longest.max(acknowledged.elapsed());
            uploads.at_first += usize::from(tries == 1);
        }
        Ok(uploads)
    }
}

impl std::fmt::Display for Uploads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, at_first, longest } = self;
        write!(f, "uploads={count} found_at_first={at_first} longest_ms={}", longest.as_millis())
    }
}
