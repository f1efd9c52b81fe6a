//! Very many transfers between two nodes at once, for long: none may stall, and when it is over the nodes must be as
//! small as before. Every eighth client hangs up midway, which is where things leak.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::content::Content;
use crate::download::{Download, Refused, upload};
use crate::random::Random;
use crate::report::Report;
use crate::wait::wait_until;

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
/// A client may be taken up by a node that is busy, but not forgotten.
const LOOKS: u32 = 60;
/// How long a node may take to close what it has no more use for.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// Lines of a node's log that are shown after a violation.
const COMPLAINTS_SHOWN: usize = 12;
/// Memory that a node may keep beyond what it had: what its allocator does not give back.
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// Memory that it may gain between the first quarter and the end: what leaks goes on growing.
const GAINED_BYTES_MAX: u64 = 32 << 20;
/// Files and tasks that come and go with connections between nodes.
const KEPT_MAX: u64 = 24;

/// How much for how long.
#[derive(Debug, Clone)]
pub struct SoakPlan {
    /// Repeats the choices, though not the timing.
    pub seed: u64,
    /// Transfers at once.
    pub clients: u64,
    /// How long.
    pub lasting: Duration,
    /// Bytes of the smallest content; the largest has eight times as many.
    pub bytes: usize,
    /// Different contents, so that no two clients want the same at once.
    pub contents: usize,
    /// A download that brings nothing for so long has stalled.
    pub stall: Duration,
    /// How often a client may be told that the holder was not heard in time: on a machine that others use as well, the
    /// nodes get too little of it.
    pub unsure_max: u64,
    /// More arguments for the nodes.
    pub node_arguments: Vec<String>,
}

/// What a node takes of its machine.
#[derive(Debug, Clone, Copy)]
struct Size {
    resident: u64,
    files: u64,
    threads: u64,
    tasks: u64,
    streams: u64,
}

/// Runs it, and compares the nodes before, meanwhile and after.
///
/// # Errors
/// If the nodes cannot be started, filled or looked at.
pub fn run_soak(plan: &SoakPlan) -> Result<Report> {
    ensure!(plan.contents as u64 >= 2 * plan.clients, "two clients may not want the same content");
    // Every transfer has to cross.
    let mut arguments = vec!["--cache-max", "0"];
    arguments.extend(plan.node_arguments.iter().map(String::as_str));
    let cluster = Cluster::start_with(2, &arguments)?;
    cluster.wait_alive(ALIVE_WITHIN)?;
    let mut contents = Vec::new();
    for number in 0..plan.contents {
        let content =
            Content { seed: plan.seed.wrapping_add(number as u64), size: plan.bytes * (1 + number % 8) };
        contents.push((upload(cluster.node(0).address(), &format!("soak-{number}"), content)?, content.size));
    }
    let soak = Soak {
        plan,
        cluster: &cluster,
        contents: &contents,
        next: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        tally: Mutex::default(),
    };
    // Whatever is made at the first use is there when "before" is looked at.
    soak.transfer(&mut Random::seeded(plan.seed), 0);
    soak.settle(u64::MAX)?;
    let before = soak.sizes()?;
    let samples = soak.run()?;
    let tally = soak.tally.lock().expect("no client panics").clone();
    let mut report = Report::of("soak", plan.seed);
    report.cycles = tally.whole;
    report.faults = tally.left;
    report.violations.clone_from(&tally.violations);
    report.fact("bytes", tally.bytes);
    report.fact("holder not heard", tally.unsure);
    report.fact("longest gap", format!("{} ms", tally.longest_gap.as_millis()));
    report.violations.extend(
        soak.settle(before[0].tasks.max(before[1].tasks) + KEPT_MAX).err().map(|error| format!("{error:#}")),
    );
    if !report.violations.is_empty() {
        report.notes = (0..2).flat_map(|at| complaints(&cluster.node(at).log())).collect();
    }
    for (at, name) in ["provider", "asker"].into_iter().enumerate() {
        let series: Vec<(f64, Size)> = samples.iter().map(|(after, sizes)| (*after, sizes[at])).collect();
        let after = soak.sizes()?[at];
        report.violations.extend(leaks(name, &before[at], &after));
        let gained = series.first().map_or(0, |(_, warm)| after.resident.saturating_sub(warm.resident));
        if gained > GAINED_BYTES_MAX {
            report.violations.push(format!("the {name} gained {gained} bytes of memory after it was warm"));
        }
        let slope = |of: fn(&Size) -> u64| slope(series.iter().map(|(at, size)| (*at, of(size) as f64)));
        let mib = |bytes: u64| bytes >> 20;
        let memory = format!("{} -> {} MiB", mib(before[at].resident), mib(after.resident));
        report.fact(
            "memory",
            format!("of the {name} {memory}, {:+.2} MiB a minute", slope(|size| size.resident) / 1048576.0),
        );
        report.fact(
            "files",
            format!("{} -> {}, {:+.2} a minute", before[at].files, after.files, slope(|size| size.files)),
        );
        report.fact("threads", format!("{} -> {}", before[at].threads, after.threads));
        report.fact(
            "tasks",
            format!("{} -> {}, {:+.2} a minute", before[at].tasks, after.tasks, slope(|size| size.tasks)),
        );
        report.fact("streams", format!("{} -> {}", before[at].streams, after.streams));
    }
    Ok(report)
}

#[derive(Debug, Clone, Default)]
struct Tally {
    whole: u64,
    left: u64,
    bytes: u64,
    unsure: u64,
    longest_gap: Duration,
    violations: Vec<String>,
}

struct Soak<'s> {
    plan: &'s SoakPlan,
    cluster: &'s Cluster,
    contents: &'s [(String, usize)],
    next: AtomicU64,
    is_over: AtomicBool,
    tally: Mutex<Tally>,
}

type Sample = (f64, [Size; 2]);

impl Soak<'_> {
    /// Minutes and sizes while it lasts. The first quarter warms up and is not among them.
    fn run(&self) -> Result<Vec<Sample>> {
        let begun = Instant::now();
        let looks = thread::scope(|scope| {
            for client in 0..self.plan.clients {
                scope.spawn(move || self.transfer_on(client));
            }
            let looks = self.look_on(begun);
            self.is_over.store(true, Ordering::Relaxed);
            looks
        })?;
        let first = looks.len() / 4;
        Ok(looks[first..].to_vec())
    }

    fn look_on(&self, begun: Instant) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for look in 1..=LOOKS {
            let due = self.plan.lasting * look / LOOKS;
            wait_until(due.saturating_sub(begun.elapsed()), || None::<()>);
            samples.push((begun.elapsed().as_secs_f64() / 60.0, self.sizes()?));
        }
        Ok(samples)
    }

    fn transfer_on(&self, client: u64) {
        let mut random = Random::seeded(self.plan.seed.wrapping_add(client + 1));
        while !self.is_over.load(Ordering::Relaxed) {
            self.transfer(&mut random, client);
        }
    }

    fn transfer(&self, random: &mut Random, client: u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (id, size) = &self.contents[usize::try_from(number).unwrap_or_default() % self.contents.len()];
        let leaves = random.chance(12);
        let leave_after = leaves.then(|| random.within(1..*size as u64));
        let address = self.cluster.node(1).address();
        let got = Download { address, id, hashed: true, leave_after }.run(|_, _| {});
        let mut tally = self.tally.lock().expect("no client panics");
        let fault = match got {
            Ok(got) => {
                tally.bytes += got.bytes;
                tally.longest_gap = tally.longest_gap.max(got.longest_gap);
                *if leaves { &mut tally.left } else { &mut tally.whole } += 1;
                match () {
                    () if !leaves && got.hash != *id => Some("wrong bytes under a clean end".to_owned()),
                    () if !leaves && !got.source.starts_with("peer:") => {
                        Some(format!("it came from {:?} and not from the other node", got.source))
                    }
                    () if got.longest_gap > self.plan.stall => {
                        Some(format!("nothing came for {:?}", got.longest_gap))
                    }
                    () => None,
                }
            }
            Err(error) if is_unsure(&error) => {
                tally.unsure += 1;
                (tally.unsure > self.plan.unsure_max).then(|| format!("{error:#}"))
            }
            Err(error) => Some(format!("{error:#}")),
        };
        tally.violations.extend(fault.map(|why| format!("client {client}, transfer {number}: {why}")));
    }

    fn sizes(&self) -> Result<[Size; 2]> {
        let of = |at: usize| -> Result<Size> {
            let (process, mut api) = (self.cluster.node(at), self.cluster.api(at));
            Ok(Size {
                resident: process.resident_bytes()?,
                files: process.open_files()?,
                threads: process.threads()?,
                tasks: api.metric("runtime_tasks")?,
                streams: api.metric("swarm_streams_open")?,
            })
        };
        Ok([of(0)?, of(1)?])
    }

    /// Waits until no transfer is under way and no stream is open on either node, and so few tasks are left: what was
    /// brought is kept for a moment by one. The question itself is in flight.
    fn settle(&self, tasks_max: u64) -> Result<()> {
        let mut last = String::new();
        let quiet = wait_until(QUIET_WITHIN, || {
            let is_quiet = (0..2).all(|at| {
                let mut api = self.cluster.api(at);
                let figure = |api: &mut crate::api::Api, name| api.metric(name).unwrap_or(u64::MAX);
                let under_way = figure(&mut api, "fetch_under_way");
                let streams = figure(&mut api, "swarm_streams_open");
                let tasks = figure(&mut api, "runtime_tasks");
                last = format!("node {at} has {under_way} transfers, {streams} streams, {tasks} tasks");
                under_way == 0
                    && streams == 0
                    && tasks <= tasks_max
                    && figure(&mut api, "http_in_flight") <= 1
            });
            is_quiet.then_some(())
        });
        quiet.with_context(|| format!("after {QUIET_WITHIN:?} {last}"))
    }
}

/// Whether it is the answer that nobody who was heard holds the content, and somebody was not heard.
fn is_unsure(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.status == 404 && refused.text.contains("\"complete\":false"))
}

/// The first lines in which a node complains.
fn complaints(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    lines.take(COMPLAINTS_SHOWN).map(str::to_owned).collect()
}

/// What a node has more than before.
fn leaks(name: &str, before: &Size, after: &Size) -> Vec<String> {
    let table = [
        ("bytes of memory", before.resident, after.resident, KEPT_BYTES_MAX),
        ("open files", before.files, after.files, KEPT_MAX),
        ("tasks", before.tasks, after.tasks, KEPT_MAX),
        ("streams", before.streams, after.streams, 0),
    ];
    let leaked = table.into_iter().filter(|(_, before, after, most)| *after > before + most);
    leaked
        .map(|(what, before, after, _)| format!("the {name} kept {after} {what}, and had {before}"))
        .collect()
}

/// Of the straight line that is nearest to the points.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count().max(1) as f64;
    let (x, y) = points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let products = points.map(|point| ((point.0 - x) * (point.1 - y), (point.0 - x).powi(2)));
    let (above, below) = products.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_has_a_slope_and_what_stays_has_none() {
        let line = |rise: f64| (0..10).map(move |at| (f64::from(at), 5.0 + rise * f64::from(at)));
        assert!((slope(line(0.0))).abs() < 1e-9);
        assert!((slope(line(2.5)) - 2.5).abs() < 1e-9);
        assert!(slope([(1.0, 1.0)].into_iter()).abs() < 1e-9);
    }

    #[test]
    fn what_a_node_keeps_is_named() {
        let small = Size { resident: 50 << 20, files: 30, threads: 9, tasks: 40, streams: 0 };
        assert!(
            leaks("asker", &small, &Size { resident: 90 << 20, files: 31, tasks: 44, ..small }).is_empty()
        );
        let large = Size { resident: 150 << 20, files: 230, threads: 9, tasks: 440, streams: 1 };
        assert_eq!(leaks("asker", &small, &large).len(), 4);
    }
}
