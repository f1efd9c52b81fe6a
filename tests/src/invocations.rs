//! Many large invocations at once, on a real node: whether each gets its own files whole, what they cost in memory, and
//! whether the disk is back where it was.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::container::Container;
use crate::http::request::{Method, Request};
use crate::http::{Client, Connection};
use crate::node_process::{NodeOptions, NodeProcess};
use crate::report::Report;
use crate::{Content, binary};

const FUNCTION: &str = "55555555-5555-4555-8555-555555555555";
/// For all invocations together, on a slow disk.
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at the disk.
const LOOK: Duration = Duration::from_millis(50);
/// What the node writes beside staging: pages of its databases.
const GROWN_MAX: u64 = 4 << 20;
/// What a node may need above its idle size.
const RESIDENT_MAX: u64 = 64 << 20;

/// What is run.
#[derive(Debug, Clone)]
pub struct InvocationPlan {
    /// Invocations at once.
    pub clients: usize,
    /// Invocations one after another of each client.
    pub rounds: usize,
    /// Assets of each invocation.
    pub assets: usize,
    /// Bytes of each asset.
    pub bytes: usize,
    /// Where node and staging are; it needs room for all that is staged at once.
    pub folder: Option<PathBuf>,
}

/// Runs the plan. The faults that the report counts are invocations; a violation is a wrong hash, a folder that stays,
/// or too much memory.
///
/// # Errors
/// If the node cannot be started, or the test's own files cannot be written.
pub fn run_invocations(plan: &InvocationPlan) -> Result<Report> {
    let folder = match &plan.folder {
        Some(folder) => TempDir::new_in(folder)?,
        None => TempDir::new()?,
    };
    let stage = Stage::start(folder.path(), plan)?;
    let mut report = Report::of("invocations", 0);
    stage.run(plan, &mut report)?;
    Ok(report)
}

struct Stage {
    node: NodeProcess,
    data_dir: PathBuf,
    staging: PathBuf,
    request: Request,
    expect: Value,
}

#[derive(Debug, Default)]
struct Seen {
    staged: AtomicU64,
    folders: AtomicUsize,
    is_over: AtomicBool,
}

impl Stage {
    fn start(folder: &Path, plan: &InvocationPlan) -> Result<Self> {
        let container = Container::of_hashes()?;
        let settings = folder.join("settings.toml");
        fs::write(&settings, format!("[[functions]]\nid = \"{FUNCTION}\"\nurl = \"http://{container}/\"\n"))?;
        let data_dir = folder.join("data");
        let node = NodeOptions::new(&data_dir).argument("--config").argument(settings).start()?;
        let token = token(&data_dir)?;
        let mut ids = Vec::new();
        let mut expect = json!({});
        for seed in 0..plan.assets {
            let content = Content { seed: seed as u64, size: plan.bytes }.bytes();
            let id = upload(node.address(), &token, &content)?;
            expect[&id] = json!(blake3::hash(&content).to_hex().as_str());
            ids.push(id);
        }
        let request = Request::new(Method::Post, format!("/v2/nvcf/pexec/functions/{FUNCTION}"))
            .with_header("NVCF-INPUT-ASSET-REFERENCES", &ids.join(","))
            .with_header("NVCF-POLL-SECONDS", "3600")
            .with_bearer(&token);
        Ok(Self { node, staging: data_dir.join("staging"), data_dir, request, expect })
    }

    fn run(&self, plan: &InvocationPlan, report: &mut Report) -> Result<()> {
        let idle = self.node.resident_bytes()?;
        let disk = disk_bytes(&self.data_dir);
        let seen = Seen::default();
        self.node.forget_peak()?;
        let begun = Instant::now();
        let wrong: Vec<String> = thread::scope(|scope| {
            let watch = scope.spawn(|| self.watch(&seen));
            let clients: Vec<_> =
                (0..plan.clients).map(|_| scope.spawn(|| self.client(plan.rounds))).collect();
            let wrong =
                clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect();
            seen.is_over.store(true, Ordering::Relaxed);
            watch.join().expect("the watch does not panic");
            wrong
        });
        let took = begun.elapsed();
        report.violations.extend(wrong);
        report.faults = (plan.clients * plan.rounds) as u64;
        let left = folders(&self.staging);
        let peak = self.node.resident_bytes_peak()?;
        if !left.is_empty() {
            report.violations.push(format!("folders stay: {left:?}"));
        }
        if peak > idle + RESIDENT_MAX {
            report.violations.push(format!("{peak} bytes resident, idle {idle}"));
        }
        let (grown, open) =
            (disk_bytes(&self.data_dir).saturating_sub(disk), removed_but_open(self.node.id()));
        if grown > GROWN_MAX || open > 0 {
            report.violations.push(format!("{grown} bytes more on disk, {open} removed files still open"));
        }
        report.fact("invocations at once", plan.clients);
        report.fact("staged for each, MiB", (plan.assets * plan.bytes) >> 20);
        report.fact("staged at once at most, MiB", seen.staged.into_inner() >> 20);
        report.fact("folders at once at most", seen.folders.into_inner());
        report.fact("idle MiB", idle >> 20);
        report.fact("resident at most, MiB", peak >> 20);
        report.fact("seconds", took.as_secs());
        Ok(())
    }

    /// Invokes; gives what was wrong.
    fn client(&self, rounds: usize) -> Vec<String> {
        let one = |_| self.invoke().err().map(|error| format!("{error:#}"));
        (0..rounds).filter_map(one).collect()
    }

    fn invoke(&self) -> Result<()> {
        let answer = Connection::open_for(self.node.address(), PATIENCE)?.call(&self.request)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let hashes = answer.json()?["hashes"].take();
        ensure!(hashes == self.expect, "wrong hashes: {hashes}");
        Ok(())
    }

    fn watch(&self, seen: &Seen) {
        while !seen.is_over.load(Ordering::Relaxed) {
            let folders = folders(&self.staging);
            seen.folders.fetch_max(folders.len(), Ordering::Relaxed);
            let bytes = folders.iter().map(|name| file_bytes(&self.staging.join(name))).sum();
            seen.staged.fetch_max(bytes, Ordering::Relaxed);
            thread::sleep(LOOK);
        }
    }
}

fn token(data_dir: &Path) -> Result<String> {
    let made = Command::new(binary())
        .args(["token", "create", "--account", "acme", "--scope", "invoke_function", "--data-dir"])
        .arg(data_dir)
        .output()?;
    let text = String::from_utf8(made.stdout)?;
    text.lines().last().map(str::to_owned).context("a token")
}

fn upload(node: SocketAddr, token: &str, content: &[u8]) -> Result<String> {
    let about = json!({"contentType": "image/png", "description": "large"});
    let request = Request::json(Method::Post, "/v2/nvcf/assets", &about).with_bearer(token);
    let mut client = Client::new(node);
    let created = client.call(&request)?.json()?;
    let url = created["uploadUrl"].as_str().context("uploadUrl")?;
    let (_, rest) = url.trim_start_matches("http://").split_once('/').context("a path")?;
    let put = Request::new(Method::Put, format!("/{rest}"))
        .with_header("Content-Type", "image/png")
        .with_header("x-amz-meta-nvcf-asset-description", "large")
        .with_body(content.to_vec());
    let answer = client.call(&put)?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(created["assetId"].as_str().context("assetId")?.to_owned())
}

fn folders(staging: &Path) -> Vec<String> {
    let entries = fs::read_dir(staging).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Folders go while they are looked at.
fn file_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

/// Bytes on disk below a folder. The disk as a whole belongs to others too.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let about = entry.metadata().ok()?;
        let own = about.blocks() * 512;
        Some(if about.is_dir() { own + disk_bytes(&entry.path()) } else { own })
    });
    sizes.sum()
}

/// Files that are removed but still open take room that no folder shows.
fn removed_but_open(process: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().ends_with(" (deleted)")).count()
}
