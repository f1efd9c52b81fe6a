//! One real `assetmesh node run` process: its own folder, port 0, its log kept, ended by its own id.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::api::Api;
use crate::binary::binary;
use crate::http::request::Request;
use crate::wait::wait_until;

/// How a node is started.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    verb: Vec<OsString>,
    arguments: Vec<OsString>,
    wrapper: Vec<OsString>,
    ready_within: Duration,
}

impl NodeOptions {
    /// A node that keeps its data in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            verb: vec!["node".into(), "run".into(), "--data-dir".into(), data_dir.into()],
            arguments: Vec::new(),
            wrapper: Vec::new(),
            ready_within: Duration::from_secs(30),
        }
    }

    /// A worker of the node at `url` instead, which stages in `asset_root`.
    #[must_use]
    pub fn worker(url: &str, asset_root: &Path) -> Self {
        let verb = ["worker", "run", "--node", url, "--asset-root"].map(OsString::from);
        let verb = verb.into_iter().chain([asset_root.into()]).collect();
        Self { verb, ..Self::new(asset_root) }
    }

    /// Adds an argument of `node run`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the node through another program, for example strace. That program must stay out of
    /// the way: the started process id has to be the node's own.
    #[must_use]
    pub fn wrapped(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(OsString::from).collect();
        self
    }

    /// Starts the node and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or is not ready in time; the error has its log.
    pub fn start(&self) -> Result<NodeProcess, StartError> {
        NodeProcess::start(self)
    }

    /// Starts the node and kills it after a while, ready or not.
    ///
    /// # Errors
    /// If it cannot be started at all.
    pub fn start_and_kill(&self, after: Duration) -> Result<()> {
        let mut child = self.command().stderr(Stdio::null()).spawn().context("start the node")?;
        thread::sleep(after);
        child.kill().context("kill the node")?;
        child.wait().context("wait for the node")?;
        Ok(())
    }

    /// A free port for peers, unless the test says which.
    fn default_p2p(&self) -> &[&str] {
        let given = self.verb[0] == "worker" || self.arguments.iter().any(|argument| argument == "--p2p");
        if given { &[] } else { &["--p2p", "/ip4/127.0.0.1/tcp/0"] }
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(binary().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(&self.verb)
            .args(["--http", "127.0.0.1:0"])
            .args(self.default_p2p())
            .args(&self.arguments)
            // A folder of the tests must not be kept busy by a node, and colours hide words.
            .current_dir("/")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// A node that did not become ready.
#[derive(Debug)]
pub struct StartError {
    /// Its exit status, if it ended by itself.
    pub status: Option<ExitStatus>,
    /// All it wrote.
    pub log: String,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => write!(f, "the node ended at start with {status}")?,
            None => f.write_str("the node was not ready in time")?,
        }
        write!(f, "; its log:\n{}", self.log)
    }
}

impl std::error::Error for StartError {}

/// A running node. It is killed when this is dropped, and its log is shown if the test has failed.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    address: SocketAddr,
    ready_after: Duration,
    log: Log,
}

impl NodeProcess {
    fn start(options: &NodeOptions) -> Result<Self, StartError> {
        let begun = Instant::now();
        let mut child = options
            .command()
            .spawn()
            .map_err(|error| StartError { status: None, log: format!("spawn: {error}") })?;
        let stderr = child.stderr.take().expect("stderr is piped");
        let (log, ports) = Log::follow(stderr);
        let mut node = Self {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ready_after: Duration::ZERO,
            log,
        };
        // The channel ends with the log, so a node that dies at start is noticed at once.
        let Ok(port) = ports.recv_timeout(options.ready_within) else {
            return Err(node.failed_start());
        };
        node.address.set_port(port);
        let left = options.ready_within.saturating_sub(begun.elapsed());
        let ready = wait_until(left, || node.is_ready().then_some(()).or_else(|| node.has_ended()));
        if ready.is_none() || node.has_ended().is_some() {
            return Err(node.failed_start());
        }
        node.ready_after = begun.elapsed();
        Ok(node)
    }

    fn failed_start(&mut self) -> StartError {
        let ended = wait_until(Duration::from_millis(200), || self.child.try_wait().ok().flatten());
        self.kill();
        StartError { status: ended, log: self.log() }
    }

    fn has_ended(&mut self) -> Option<()> {
        matches!(self.child.try_wait(), Ok(Some(_))).then_some(())
    }

    fn is_ready(&self) -> bool {
        let answer = self.api().call(&Request::get("/readyz"));
        answer.is_ok_and(|response| response.status == 200)
    }

    /// Where it really listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new caller of this node.
    #[must_use]
    pub const fn api(&self) -> Api {
        Api::new(self.address)
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// From start of the process to the first 200 of `/readyz`.
    #[must_use]
    pub const fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// All it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        // Both fail only if the process has already ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: it does nothing any more, and its connections stay open.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id")?;
        let id = Pid::from_raw(id).context("a process id is not zero")?;
        kill_process(id, signal).with_context(|| format!("signal {signal:?}"))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it has not ended within `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        wait_until(deadline, || self.child.try_wait().ok().flatten())
            .with_context(|| format!("the node still runs after {deadline:?}"))
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// If it does not end in 35 s (it promises 30).
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait(Duration::from_secs(35))
    }

    /// Memory in use now, in bytes.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that was ever in use, in bytes.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resident_bytes_peak(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// The most memory counts from now on.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.id());
        fs::write(&path, "5").with_context(|| path.clone())
    }

    /// Open files, sockets included.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn open_files(&self) -> Result<u64> {
        let path = format!("/proc/{}/fd", self.id());
        Ok(fs::read_dir(&path).with_context(|| path.clone())?.count() as u64)
    }

    /// Threads of the process.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn threads(&self) -> Result<u64> {
        let path = format!("/proc/{}/task", self.id());
        Ok(fs::read_dir(&path).with_context(|| path.clone())?.count() as u64)
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let kib: u64 = number.with_context(|| format!("{field} in {path}"))?.parse()?;
        Ok(kib * 1024)
    }

    /// Processor time used by all threads so far.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn processor_time(&self) -> Result<Duration> {
        const TICKS_PER_SECOND: u64 = 100;
        let path = format!("/proc/{}/stat", self.id());
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The name of the program stands in parentheses and may hold spaces.
        let (_, fields) = stat.rsplit_once(')').with_context(|| path.clone())?;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|number| number.parse::<u64>().unwrap_or_default())
            .sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            self.show_log();
        }
    }
}

impl NodeProcess {
    #[expect(clippy::print_stderr, reason = "the log of a node belongs to the failure of its test")]
    fn show_log(&self) {
        eprintln!("--- log of the node at {} ---\n{}---", self.address, self.log());
    }
}

/// What a node writes, line by line.
#[derive(Debug, Clone, Default)]
struct Log {
    lines: Arc<Mutex<String>>,
}

impl Log {
    /// Reads to the end in a thread of its own, and tells the first port that is named.
    fn follow(stderr: ChildStderr) -> (Self, Receiver<u16>) {
        let log = Self::default();
        let (found, ports) = channel();
        let copy = log.clone();
        thread::spawn(move || copy.read(stderr, found));
        (log, ports)
    }

    fn read(&self, stderr: ChildStderr, found: Sender<u16>) {
        let mut found = Some(found);
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            {
                let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_str(&line);
                lines.push('\n');
            }
            if let Some(port) = port_in(&line)
                && let Some(found) = found.take()
            {
                // Nobody waits any more if the start has already failed.
                let _ = found.send(port);
            }
        }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The port in the first `http://127.0.0.1:PORT` of a line; port 0 is only what was asked for.
fn port_in(line: &str) -> Option<u16> {
    const START: &str = "http://127.0.0.1:";
    line.match_indices(START).find_map(|(at, _)| {
        let rest = &line[at + START.len()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits.parse().ok().filter(|port| *port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_port_is_found_in_any_log_line() {
        for line in [
            "INFO ready http=http://127.0.0.1:4711 data_dir=/x",
            "\u{1b}[3mhttp\u{1b}[0m=http://127.0.0.1:4711\u{1b}[0m",
            "{\"http\":\"http://127.0.0.1:4711\"}",
            "asked for http://127.0.0.1:0, bound http://127.0.0.1:4711/",
        ] {
            assert_eq!(port_in(line), Some(4711), "{line}");
        }
        for line in ["", "http://127.0.0.1:", "http://127.0.0.1:0", "http://0.0.0.0:4000"] {
            assert_eq!(port_in(line), None, "{line}");
        }
    }
}
