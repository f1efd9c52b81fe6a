//! Breaks a node at random moments of a mix of writes, starts it again, and compares what it serves
//! with what it has acknowledged. The history is kept here, outside of the broken process.

mod audit;
mod client;
mod ledger;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::binary::verify_all;
use crate::node_process::{NodeOptions, NodeProcess};
use crate::random::Random;
use crate::report::Report;
use crate::volume::Ext4;
use audit::{Objects, audit};
use client::Client;

const POWER_CUT_DISK_BYTES: u64 = 2 << 30;
const OBJECTS_READ_A_CYCLE: usize = 8;
const CYCLES_BETWEEN_FULL_READS: u64 = 25;
const DOUBLE_CRASH_PERCENT: u64 = 15;

/// What breaks, and on which disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// The process is killed; the operating system goes on and writes what it has.
    Kept,
    /// The power of an own ext4 is cut first: what was not synced is lost. Needs root.
    PowerCut,
    /// As [`Disk::PowerCut`], and fsync only claims to work (strace). This must lose writes:
    /// it shows that the run can see a loss.
    PowerCutWithoutSync,
}

/// One run.
#[derive(Debug, Clone)]
pub struct CrashPlan {
    /// Repeats the run's choices.
    pub seed: u64,
    /// How often the node is broken.
    pub cycles: u64,
    /// How many clients write at once.
    pub clients: u64,
    /// What breaks.
    pub disk: Disk,
    /// How soon the node must be ready again.
    pub ready_within: Duration,
}

/// Does the run. It ends at the first cycle with a violation, because everything after it would only
/// repeat that one.
///
/// # Errors
/// If the run itself fails: no disk to break, no binary, a first start that fails.
pub fn run_crashes(plan: &CrashPlan, mut tell: impl FnMut(&Report)) -> Result<Report> {
    let mut run = Run::new(plan)?;
    while run.report.cycles < plan.cycles && run.report.violations.is_empty() {
        run.cycle()?;
        tell(&run.report);
    }
    run.finish()
}

struct Run<'a> {
    plan: &'a CrashPlan,
    place: Place,
    random: Random,
    clients: Vec<Client>,
    report: Report,
    slowest_start: Duration,
    done: u64,
    undone: u64,
    objects_read: u64,
    double_crashes: u64,
}

impl<'a> Run<'a> {
    fn new(plan: &'a CrashPlan) -> Result<Self> {
        let mut random = Random::seeded(plan.seed);
        let clients = (0..plan.clients).map(|owner| Client::new(owner, random.fork())).collect();
        let name = match plan.disk {
            Disk::Kept => "crash",
            Disk::PowerCut => "powercut",
            Disk::PowerCutWithoutSync => "powercut without fsync",
        };
        Ok(Self {
            plan,
            place: Place::new(plan.disk)?,
            random,
            clients,
            report: Report::of(name, plan.seed),
            slowest_start: Duration::ZERO,
            done: 0,
            undone: 0,
            objects_read: 0,
            double_crashes: 0,
        })
    }

    /// Start, compare with the history, work, break.
    fn cycle(&mut self) -> Result<()> {
        self.report.cycles += 1;
        let Some(mut node) = self.start()? else {
            return Ok(());
        };
        let full = self.report.cycles.is_multiple_of(CYCLES_BETWEEN_FULL_READS);
        self.compare(&node, if full { Objects::All } else { Objects::Some(OBJECTS_READ_A_CYCLE) });
        if self.report.violations.is_empty() {
            self.work_and_break(&mut node)?;
        }
        self.note_panics(&node);
        Ok(())
    }

    fn start(&mut self) -> Result<Option<NodeProcess>> {
        let options = self.place.options();
        let first = self.report.cycles == 1;
        if !first && self.random.chance(DOUBLE_CRASH_PERCENT) {
            self.double_crashes += 1;
            let after = Duration::from_millis(self.random.within(0..200));
            options.start_and_kill(after)?;
        }
        match options.start() {
            Ok(node) => {
                self.slowest_start = self.slowest_start.max(node.ready_after());
                if node.ready_after() > self.plan.ready_within {
                    let (after, log) = (node.ready_after(), node.log());
                    self.violate(format!("ready only after {after:?}; its log:\n{log}"));
                }
                Ok(Some(node))
            }
            Err(error) if first => Err(error).context("the first start"),
            Err(error) => {
                self.violate(format!("no start after a crash: {error}"));
                Ok(None)
            }
        }
    }

    fn compare(&mut self, node: &NodeProcess, objects: Objects) {
        match audit(&mut node.api(), &mut self.clients, objects, &mut self.random) {
            Ok(findings) => {
                self.done += findings.done;
                self.undone += findings.undone;
                self.objects_read += findings.objects_read;
                findings.violations.into_iter().for_each(|violation| self.violate(violation));
            }
            Err(error) => self.violate(format!("the audit got no answer: {error:#}")),
        }
    }

    fn work_and_break(&mut self, node: &mut NodeProcess) -> Result<()> {
        let cut = AtomicBool::new(false);
        let address = node.address();
        let lifetime = Duration::from_millis(self.random.within(5..400));
        let place = &mut self.place;
        let clients = &mut self.clients;
        let broken = thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| client.work(address, &cut));
            }
            // The moment of the fault is a choice of the run, not a wait for something.
            thread::sleep(lifetime);
            cut.store(true, Ordering::Release);
            let broken = place.break_power();
            node.kill();
            broken
        });
        broken?;
        self.place.repair()?;
        self.report.faults += 1;
        Ok(())
    }

    /// After a clean stop nothing may be left that no asset names, and everything must fit together.
    fn verify(&mut self) -> Result<()> {
        let verified = verify_all(&self.place.data_dir())?;
        if !verified.status.success() {
            let said = String::from_utf8_lossy(&verified.stdout);
            self.violate(format!("verify --all: {} {said}", verified.status));
        }
        Ok(())
    }

    fn note_panics(&mut self, node: &NodeProcess) {
        let log = node.log();
        if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
            self.violate(format!("the node panicked: {line}"));
        }
    }

    fn violate(&mut self, what: String) {
        self.report.violations.push(format!("cycle {}: {what}", self.report.cycles));
    }

    /// One last start, in which everything is read.
    fn finish(mut self) -> Result<Report> {
        if self.report.violations.is_empty() {
            self.report.cycles += 1;
            if let Some(mut node) = self.start()? {
                self.compare(&node, Objects::All);
                node.stop()?;
                self.note_panics(&node);
                self.verify()?;
            }
        }
        let acknowledged: u64 = self.clients.iter().map(|client| client.acknowledged).sum();
        let report = &mut self.report;
        report.fact("acknowledged", acknowledged);
        report.fact("interrupted and done", self.done);
        report.fact("interrupted and undone", self.undone);
        report.fact("objects read", self.objects_read);
        report.fact("double crashes", self.double_crashes);
        report.fact("slowest start", format_args!("{:?}", self.slowest_start));
        Ok(self.report)
    }
}

/// Where the node of a run keeps its data.
enum Place {
    Kept(TempDir),
    PowerCut { volume: Ext4, synced: bool },
}

impl Place {
    fn new(disk: Disk) -> Result<Self> {
        Ok(match disk {
            Disk::Kept => Self::Kept(TempDir::new()?),
            Disk::PowerCut => Self::PowerCut { volume: Ext4::new(POWER_CUT_DISK_BYTES)?, synced: true },
            Disk::PowerCutWithoutSync => {
                Self::PowerCut { volume: Ext4::new(POWER_CUT_DISK_BYTES)?, synced: false }
            }
        })
    }

    fn data_dir(&self) -> PathBuf {
        let folder: &Path = match self {
            Self::Kept(folder) => folder.path(),
            Self::PowerCut { volume, .. } => volume.path(),
        };
        folder.join("data")
    }

    fn options(&self) -> NodeOptions {
        let options = NodeOptions::new(&self.data_dir());
        if matches!(self, Self::PowerCut { synced: false, .. }) {
            // -D keeps the node our own child; the filter in the kernel lets all other calls run freely.
            const LYING_SYNC: [&str; 9] = [
                "strace",
                "-D",
                "-f",
                "-qqq",
                "--seccomp-bpf",
                "-o/dev/null",
                "--trace=fsync,fdatasync,sync_file_range",
                "--inject=fsync,fdatasync,sync_file_range:retval=0",
                "--",
            ];
            return options.wrapped(&LYING_SYNC);
        }
        options
    }

    fn break_power(&self) -> Result<()> {
        match self {
            Self::Kept(_) => Ok(()),
            Self::PowerCut { volume, .. } => volume.cut_power(),
        }
    }

    fn repair(&mut self) -> Result<()> {
        match self {
            Self::Kept(_) => Ok(()),
            Self::PowerCut { volume, .. } => volume.restore_power(),
        }
    }
}
