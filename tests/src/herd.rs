//! Many clients ask one node at once for the same content that it does not hold: it must come over once.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::content::Content;
use crate::download::{Download, Downloaded, upload};
use crate::report::Report;
use crate::wait::wait_until;

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
/// One client of so many hangs up midway.
const LEAVES_EVERY: usize = 10;
/// The last group of the content and its place in the tree, which prove its size: for each search.
const HEAD_BYTES: u64 = 32 << 10;

/// How many want what.
#[derive(Debug, Clone)]
pub struct HerdPlan {
    /// Makes the content.
    pub seed: u64,
    /// How many at once.
    pub clients: usize,
    /// Bytes of the content.
    pub bytes: usize,
    /// How many times, each with other content.
    pub rounds: u64,
    /// More arguments for the nodes.
    pub node_arguments: Vec<String>,
}

/// Lets them all ask, and counts what crosses.
///
/// # Errors
/// If the nodes cannot be started or filled.
pub fn run_herd(plan: &HerdPlan) -> Result<Report> {
    let arguments: Vec<&str> = plan.node_arguments.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(2, &arguments)?;
    cluster.wait_alive(ALIVE_WITHIN)?;
    // Two nodes that dialled each other close one of their connections, with what it carries.
    let single = wait_until(ALIVE_WITHIN, || {
        let settled =
            (0..2).all(|at| cluster.api(at).metric("swarm_connections").is_ok_and(|open| open == 1));
        settled.then_some(())
    });
    single.context("the nodes keep one connection")?;
    let mut report = Report::of("herd", plan.seed);
    let mut slowest = Duration::ZERO;
    for round in 0..plan.rounds {
        let content = Content { seed: plan.seed.wrapping_add(round), size: plan.bytes };
        let id = upload(cluster.node(0).address(), &format!("herd-{round}"), content)?;
        let before = Crossed::of(&cluster)?;
        let outcomes = all_ask(&cluster, plan, &id);
        report.cycles += 1;
        report.faults += outcomes.iter().filter(|(leaves, _)| *leaves).count() as u64;
        let crossed = Crossed::of(&cluster)?.since(&before);
        for (client, (leaves, outcome)) in outcomes.iter().enumerate() {
            let judged = outcome.as_ref().map_err(|error| format!("{error:#}")).and_then(|got| {
                slowest = slowest.max(got.took);
                let whole = *leaves || (got.hash == id && got.bytes == plan.bytes as u64);
                whole.then_some(()).ok_or_else(|| format!("{} bytes that are not the content", got.bytes))
            });
            report
                .violations
                .extend(judged.err().map(|why| format!("round {round}, client {client}: {why}")));
        }
        let fault = crossed.judge(plan.bytes as u64).err();
        report.violations.extend(fault.map(|why| format!("round {round}: {why:#}")));
        report.fact("transfers", crossed.transfers);
        report.fact("bytes sent of each byte", format!("{:.4}", crossed.sent as f64 / plan.bytes as f64));
    }
    report.fact("slowest client", format!("{} ms", slowest.as_millis()));
    Ok(report)
}

type Outcome = (bool, Result<Downloaded>);

/// All at the same moment; every tenth hangs up midway.
fn all_ask(cluster: &Cluster, plan: &HerdPlan, id: &str) -> Vec<Outcome> {
    let (start, address) = (Barrier::new(plan.clients), cluster.node(1).address());
    let ask = |client: usize| {
        start.wait();
        let leaves = client % LEAVES_EVERY == 1;
        let leave_after = leaves.then_some(plan.bytes as u64 / 2);
        (leaves, Download { address, id, hashed: true, leave_after }.run(|_, _| {}))
    };
    let ask = &ask;
    thread::scope(|scope| {
        let started: Vec<_> = (0..plan.clients).map(|client| scope.spawn(move || ask(client))).collect();
        started.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    })
}

/// What crossed between the nodes.
#[derive(Debug)]
struct Crossed {
    transfers: u64,
    searches: u64,
    received: u64,
    sent: u64,
}

impl Crossed {
    fn of(cluster: &Cluster) -> Result<Self> {
        let (mut holder, mut asker) = (cluster.api(0), cluster.api(1));
        Ok(Self {
            transfers: asker.metric("fetch_transfers_total")?,
            searches: asker.metric("fetch_searches_total")?,
            received: asker.metric("fetch_bytes_in_total")?,
            sent: holder.metric("fetch_bytes_out_total")?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            transfers: self.transfers - before.transfers,
            searches: self.searches - before.searches,
            received: self.received - before.received,
            sent: self.sent - before.sent,
        }
    }

    /// One transfer, of the content and its tree: a pair of hashes a group, and a path from the root for each range.
    fn judge(&self, bytes: u64) -> Result<()> {
        ensure!(self.transfers == 1, "{} transfers", self.transfers);
        ensure!(self.received == bytes, "{} of {bytes} bytes came", self.received);
        let most = bytes + bytes / 128 + self.searches * HEAD_BYTES;
        ensure!((bytes..=most).contains(&self.sent), "{} bytes were sent, and {most} are enough", self.sent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_transfer_of_the_content_is_found() {
        let bytes = 10 << 20;
        let once = Crossed { transfers: 1, searches: 1, received: bytes, sent: bytes + 80_000 };
        assert!(once.judge(bytes).is_ok());
        for crossed in [
            Crossed { transfers: 2, ..once },
            Crossed { received: bytes + 16_384, ..once },
            Crossed { sent: bytes + 500_000, ..once },
            Crossed { sent: bytes / 2, ..once },
        ] {
            assert!(crossed.judge(bytes).is_err(), "{crossed:?}");
        }
    }
}
