//! Content through a node that does not hold it: how fast beside a raw libp2p stream of as many bytes, in how much
//! memory, from how many providers, and what becomes of a download whose provider is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::content::Content;
use crate::download::{Download, Downloaded, upload};
use crate::report::Report;

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
/// Three hold content, the fourth does not.
const NODES: usize = 4;
const MIDDLE: usize = 3;

/// How much, and what is promised.
#[derive(Debug, Clone)]
pub struct TransferPlan {
    /// Makes the contents.
    pub seed: u64,
    /// Bytes of each content.
    pub bytes: usize,
    /// How often the speed is measured; the best counts.
    pub runs: u64,
    /// The program that sends a raw stream. Without it nothing is compared.
    pub raw: Option<PathBuf>,
    /// The speed must be at least this share of the raw stream's.
    pub ratio_min: f64,
    /// The first byte must be there within this.
    pub first_byte_max: Duration,
    /// Neither end may use more memory beyond what it used idle.
    pub memory_max: u64,
    /// More arguments for the nodes.
    pub node_arguments: Vec<String>,
}

/// Measures and breaks transfers.
///
/// # Errors
/// If the nodes or the raw stream cannot be started or used at all.
pub fn run_transfers(plan: &TransferPlan) -> Result<Report> {
    let arguments: Vec<&str> = plan.node_arguments.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(NODES, &arguments)?;
    cluster.wait_alive(ALIVE_WITHIN)?;
    let mut transfers = Transfers { plan, cluster, report: Report::of("transfers", plan.seed), made: 0 };
    transfers.one_provider()?;
    transfers.three_providers()?;
    transfers.killed_provider()?;
    Ok(transfers.report)
}

struct Transfers<'p> {
    plan: &'p TransferPlan,
    cluster: Cluster,
    report: Report,
    /// Contents that were made: each download has its own.
    made: u64,
}

impl Transfers<'_> {
    /// New content, held by some nodes.
    fn held_by(&mut self, holders: &[usize]) -> Result<String> {
        let content = Content { seed: self.plan.seed.wrapping_add(self.made), size: self.plan.bytes };
        self.made += 1;
        let mut id = String::new();
        for at in holders {
            id = upload(self.cluster.node(*at).address(), &format!("content-{}", self.made), content)?;
        }
        Ok(id)
    }

    fn download<'d>(&self, id: &'d str, hashed: bool) -> Download<'d> {
        Download { address: self.cluster.node(MIDDLE).address(), id, hashed, leave_after: None }
    }

    fn must(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        self.report.violations.extend((!holds).then(sentence));
    }

    fn one_provider(&mut self) -> Result<()> {
        let idle = self.memory(&[0, MIDDLE], false)?;
        let (mut relayed, mut raw, mut first_byte) = (Duration::MAX, Duration::MAX, Duration::MAX);
        let mut peaks = vec![0; idle.len()];
        for _ in 0..self.plan.runs {
            let id = self.held_by(&[0])?;
            for at in [0, MIDDLE] {
                self.cluster.node(at).forget_peak()?;
            }
            let got = self.download(&id, false).run(|_, _| {})?;
            self.report.cycles += 1;
            let bytes = self.plan.bytes as u64;
            self.must(got.bytes == bytes, || format!("{} of {bytes} bytes came", got.bytes));
            (relayed, first_byte) = (relayed.min(got.took), first_byte.min(got.first_byte));
            for (peak, now) in peaks.iter_mut().zip(self.memory(&[0, MIDDLE], true)?) {
                *peak = now.max(*peak);
            }
            if let Some(program) = &self.plan.raw {
                raw = raw.min(raw_stream(program, self.plan.bytes)?);
            }
        }
        self.report.fact("relayed_mb_s", rate(self.plan.bytes, relayed));
        self.report.fact("first_byte_ms", first_byte.as_millis());
        let first_byte_max = self.plan.first_byte_max;
        self.must(first_byte <= first_byte_max, || format!("the first byte came after {first_byte:?}"));
        if self.plan.raw.is_some() {
            let (ratio, least) = (raw.as_secs_f64() / relayed.as_secs_f64(), self.plan.ratio_min);
            self.report.fact("raw_mb_s", rate(self.plan.bytes, raw));
            self.report.fact("ratio", format!("{ratio:.2}"));
            self.must(ratio >= least, || format!("{ratio:.2} of a raw stream, and not {least:.2}"));
        }
        let names = ["memory_provider_mib", "memory_middle_mib"];
        for ((name, peak), idle) in names.into_iter().zip(peaks).zip(idle) {
            let more = peak.saturating_sub(idle);
            self.report.fact(name, more >> 20);
            let most = self.plan.memory_max;
            self.must(more <= most, || format!("{name}: {} MiB beyond {} MiB", more >> 20, idle >> 20));
        }
        Ok(())
    }

    fn memory(&self, nodes: &[usize], peak: bool) -> Result<Vec<u64>> {
        let of = |at: &usize| match peak {
            true => self.cluster.node(*at).resident_bytes_peak(),
            false => self.cluster.node(*at).resident_bytes(),
        };
        nodes.iter().map(of).collect()
    }

    fn three_providers(&mut self) -> Result<()> {
        let id = self.held_by(&[0, 1, 2])?;
        let sent = |cluster: &Cluster| -> Result<Vec<u64>> {
            (0..3).map(|at| cluster.api(at).metric("fetch_bytes_out_total")).collect()
        };
        let before = sent(&self.cluster)?;
        let got = self.download(&id, true).run(|_, _| {})?;
        let after = sent(&self.cluster)?;
        self.check(&got, &id);
        let gave: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let total: u64 = gave.iter().sum();
        let shares: Vec<String> = gave.iter().map(|gave| format!("{}%", 100 * gave / total.max(1))).collect();
        self.report.fact("providers", shares.join("/"));
        self.report.fact("three_mb_s", rate(self.plan.bytes, got.took));
        // The head that proves the size is no work yet.
        let idle = gave.iter().any(|gave| *gave < total / 20);
        self.must(!idle, || format!("a provider was idle: {gave:?} bytes"));
        Ok(())
    }

    fn check(&mut self, got: &Downloaded, id: &str) {
        self.report.cycles += 1;
        self.must(got.source.starts_with("peer:"), || format!("it came from {}", got.source));
        self.must(got.hash == id, || format!("{} bytes that are not the content", got.bytes));
    }

    fn killed_provider(&mut self) -> Result<()> {
        let id = self.held_by(&[0, 1])?;
        let half = self.plan.bytes as u64 / 2;
        let (to, came) = channel();
        let download = self.download(&id, true);
        let ids: Vec<String> = (0..2).map(|at| self.cluster.id(at)).collect::<Result<_>>()?;
        let cluster = &mut self.cluster;
        let tell = move |source: &str, bytes: u64| {
            if bytes >= half {
                // The other side waits for the first word and no other.
                let _ = to.send(source.to_owned());
            }
        };
        let got = thread::scope(|scope| {
            let downloading = scope.spawn(move || download.run(tell));
            let source = came.recv().context("the download got half way");
            let serving = source.and_then(|source| {
                ids.iter().position(|id| source.ends_with(id.as_str())).context("the source is a provider")
            });
            if let Ok(serving) = &serving {
                cluster.kill(*serving);
            }
            let got = downloading.join().expect("the client does not panic");
            serving.map(|serving| (serving, got))
        });
        let (killed, got) = got?;
        self.report.faults += 1;
        match got {
            Ok(got) => {
                self.report.fact("gap_at_kill_ms", got.longest_gap.as_millis());
                self.check(&got, &id);
            }
            Err(error) => self.report.violations.push(format!("its provider was killed: {error:#}")),
        }
        self.cluster.restart(killed)
    }
}

fn rate(bytes: usize, took: Duration) -> String {
    format!("{:.0}", bytes as f64 / 1e6 / took.as_secs_f64())
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it has already ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a raw stream takes for so many bytes, from the question to the last byte.
fn raw_stream(program: &Path, bytes: usize) -> Result<Duration> {
    let name = program.display();
    let giving = Command::new(program).arg("give").stdout(Stdio::piped()).spawn();
    let mut giving = Killed(giving.with_context(|| format!("start {name}"))?);
    let mut address = String::new();
    let out = giving.0.stdout.take().context("its output is piped")?;
    BufReader::new(out).read_line(&mut address)?;
    let took = Command::new(program).args(["take", address.trim(), &bytes.to_string()]).output()?;
    let told = String::from_utf8_lossy(&took.stdout).into_owned();
    ensure!(took.status.success(), "{name}: {told} {}", String::from_utf8_lossy(&took.stderr));
    let seconds = told.trim().strip_prefix("seconds=").and_then(|seconds| seconds.parse().ok());
    Ok(Duration::from_secs_f64(seconds.with_context(|| format!("{name} says {told}"))?))
}
