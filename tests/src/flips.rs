//! Flips single bits in the files of a stopped node, and judges everything it then serves: never wrong
//! bytes or an invented row under a 2xx, the damage named by `verify --all`, the rest served.

mod truth;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::binary::verify_all;
use crate::node_process::{NodeOptions, NodeProcess};
use crate::random::Random;
use crate::report::Report;
use truth::{Served, Truth};

const FILES: [&str; 2] = ["blobs.redb", "catalog.redb"];
const BLOCK: usize = 512;
/// Exit code of `verify` when it found damage.
const INTEGRITY: i32 = 6;

/// One run.
#[derive(Debug, Clone)]
pub struct FlipPlan {
    /// Repeats the run's choices.
    pub seed: u64,
    /// How many bits are flipped, one at a time.
    pub flips: u64,
    /// Only this file, by its name in the data folder.
    pub file: Option<String>,
    /// Also report what became of each flip that did some harm.
    pub each: bool,
}

/// Does the run.
///
/// # Errors
/// If the run itself fails: no binary, or an unbroken node that does not work.
pub fn run_flips(plan: &FlipPlan, mut tell: impl FnMut(&Report)) -> Result<Report> {
    let mut run = Run::new(plan)?;
    while run.report.faults < plan.flips {
        run.flip_once()?;
        tell(&run.report);
    }
    Ok(run.finish())
}

/// A stored file as it was, and where it holds anything at all.
struct Pristine {
    name: &'static str,
    path: PathBuf,
    bytes: Vec<u8>,
    used_blocks: Vec<usize>,
}

impl Pristine {
    fn read(data_dir: &Path, name: &'static str) -> Result<Self> {
        let path = data_dir.join(name);
        let bytes = fs::read(&path).with_context(|| format!("read {name}"))?;
        let used_blocks = bytes
            .chunks(BLOCK)
            .enumerate()
            .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
            .map(|(index, _)| index)
            .collect();
        Ok(Self { name, path, bytes, used_blocks })
    }

    fn restore(&self) -> Result<()> {
        fs::write(&self.path, &self.bytes).with_context(|| format!("restore {}", self.name))
    }

    /// Nearly always in a block that is used, else most flips of a sparse file would hit nothing.
    fn flip(&self, random: &mut Random) -> Result<Flip> {
        let byte = if random.chance(95) {
            random.pick(&self.used_blocks) * BLOCK + random.below(BLOCK)
        } else {
            random.below(self.bytes.len())
        };
        let byte = byte.min(self.bytes.len() - 1);
        let bit = random.below(8);
        let mut bytes = self.bytes.clone();
        bytes[byte] ^= 1 << bit;
        fs::write(&self.path, bytes).with_context(|| format!("flip {}", self.name))?;
        Ok(Flip { file: self.name, byte, bit })
    }
}

/// Which bit was flipped.
#[derive(Debug, Clone, Copy)]
struct Flip {
    file: &'static str,
    byte: usize,
    bit: usize,
}

struct Run {
    data_dir: TempDir,
    files: Vec<Pristine>,
    truth: Truth,
    random: Random,
    each: bool,
    report: Report,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    found_by_verify: u64,
    not_opened: u64,
    rows_withheld: u64,
    lists_refused: u64,
    objects_withheld: u64,
    objects_unnamed: u64,
    most_rows_withheld: usize,
    most_objects_withheld: usize,
}

impl Run {
    fn new(plan: &FlipPlan) -> Result<Self> {
        let data_dir = TempDir::new()?;
        let mut random = Random::seeded(plan.seed);
        let mut node = NodeOptions::new(data_dir.path()).start()?;
        let truth = Truth::store(&mut node.api(), &mut random).context("fill the store")?;
        node.stop()?;
        let wanted = |name: &&str| plan.file.as_ref().is_none_or(|only| only == name);
        let files: Vec<Pristine> = FILES
            .into_iter()
            .filter(wanted)
            .map(|name| Pristine::read(data_dir.path(), name))
            .collect::<Result<_>>()?;
        ensure!(!files.is_empty(), "no file of that name; there are {FILES:?}");
        let report = Report::of("flips", plan.seed);
        let counts = Counts::default();
        let run = Self { data_dir, files, truth, random, each: plan.each, report, counts };
        run.check_unbroken()?;
        Ok(run)
    }

    /// An unbroken store must look unbroken, else nothing that follows means anything.
    fn check_unbroken(&self) -> Result<()> {
        let verified = verify_all(self.data_dir.path())?;
        let said = String::from_utf8_lossy(&verified.stdout);
        ensure!(verified.status.success(), "verify of an unbroken store: {said}");
        let node = NodeOptions::new(self.data_dir.path()).start()?;
        let served = self.truth.compare(&mut node.api());
        ensure!(served == Served::default(), "an unbroken node serves {served:?}");
        Ok(())
    }

    fn flip_once(&mut self) -> Result<()> {
        for file in &self.files {
            file.restore()?;
        }
        let flip = self.random.pick(&self.files).flip(&mut self.random.fork())?;
        self.report.faults += 1;
        self.report.cycles += 1;
        let verified = verify_all(self.data_dir.path())?;
        let found = verified.status.code() == Some(INTEGRITY);
        self.counts.found_by_verify += u64::from(found);
        if !found && !verified.status.success() && !refused(&verified) {
            self.violate(flip, &format!("verify ended with {}", verified.status));
        }
        let said = [verified.stdout, verified.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        self.note_panic(flip, &said);
        match NodeOptions::new(self.data_dir.path()).start() {
            Ok(node) => self.judge(flip, &node, found, &said),
            Err(error) => {
                self.counts.not_opened += 1;
                self.note(flip, || format!("not opened; verify says {said:?}"));
                self.note_panic(flip, &error.log);
                if error.status.is_none_or(|status| status.success()) || verified.status.success() {
                    self.violate(flip, &format!("verify says {said:?}, but {error}"));
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, flip: Flip, node: &NodeProcess, found: bool, said: &str) {
        let served = self.truth.compare(&mut node.api());
        for wrong in &served.wrong {
            self.violate(flip, wrong);
        }
        let (rows, objects) = (served.rows_withheld.len(), served.objects_withheld.len());
        let counts = &mut self.counts;
        counts.rows_withheld += rows as u64;
        counts.lists_refused += served.lists_refused;
        counts.objects_withheld += objects as u64;
        counts.most_rows_withheld = counts.most_rows_withheld.max(rows);
        counts.most_objects_withheld = counts.most_objects_withheld.max(objects);
        let unnamed = served.objects_withheld.iter().filter(|id| !said.contains(id.as_str()));
        self.counts.objects_unnamed += unnamed.count() as u64;
        let harmed = served != Served::default();
        if harmed {
            let lists = served.lists_refused;
            self.note(flip, || {
                format!(
                    "{lists} lists refused, {rows} rows and {objects} objects withheld; verify says {said:?}"
                )
            });
        }
        if harmed && !found {
            self.violate(flip, &format!("verify says {said:?}, but the node serves {served:?}"));
        }
        if flip.file == "blobs.redb" && !served.rows_withheld.is_empty() {
            self.violate(flip, &format!("rows are gone: {:?}", served.rows_withheld));
        }
        self.note_panic(flip, &node.log());
    }

    fn note(&mut self, flip: Flip, what: impl FnOnce() -> String) {
        if self.each {
            let Flip { file, byte, bit } = flip;
            self.report.notes.push(format!("{file} byte {byte} bit {bit}: {}", what()));
        }
    }

    fn note_panic(&mut self, flip: Flip, log: &str) {
        if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
            self.violate(flip, &format!("a panic: {line}"));
        }
    }

    fn violate(&mut self, flip: Flip, what: &str) {
        let Flip { file, byte, bit } = flip;
        self.report.violations.push(format!("{file} byte {byte} bit {bit}: {what}"));
    }

    fn finish(mut self) -> Report {
        let counts = &self.counts;
        let report = &mut self.report;
        report.fact("found by verify", counts.found_by_verify);
        report.fact("not opened", counts.not_opened);
        report.fact("lists refused", counts.lists_refused);
        report.fact("rows withheld", counts.rows_withheld);
        report.fact("most by one flip", counts.most_rows_withheld);
        report.fact("objects withheld", counts.objects_withheld);
        report.fact("most by one flip", counts.most_objects_withheld);
        report.fact("of them not named by id", counts.objects_unnamed);
        self.report
    }
}

/// A file that cannot be opened at all is refused with a sentence.
fn refused(verified: &Output) -> bool {
    matches!(verified.status.code(), Some(1 | 2)) && !verified.stderr.is_empty()
}
