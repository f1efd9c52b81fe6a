//! A peer lies about content, or never ends its answer, or never goes on: beside an honest provider the download goes on
//! and the liar is reported and left; without one the client hears of it. Wrong bytes never have a clean end.

mod peer;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cluster::{Cluster, p2p_address};
use crate::content::Content;
use crate::download::{Download, Downloaded, Refused, upload};
use crate::report::Report;
use crate::wait::wait_until;
pub use peer::Manner;
use peer::Rogue;

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
const HOLDER: usize = 0;
const ASKER: usize = 1;
/// Content that was proven and is asked for again.
const WASTED_BYTES_MAX: u64 = 32 << 10;
/// After so many lies a peer is banned: each has 40 points of 100.
const LIES_TO_BAN: u64 = 3;

/// What to try.
#[derive(Debug, Clone)]
pub struct RoguesPlan {
    /// Makes the contents.
    pub seed: u64,
    /// In what peers lie.
    pub manners: Vec<Manner>,
    /// Bytes of each content: some ranges.
    pub bytes: usize,
    /// How long a provider may bring nothing: a setting of the node.
    pub stall: Duration,
    /// How soon the next provider must bring something.
    pub next_within: Duration,
    /// Manners tried at once; each has nodes of its own.
    pub threads: usize,
}

/// Tries each manner on nodes of its own.
///
/// # Errors
/// If a node or a liar cannot be started.
pub fn run_rogues(plan: &RoguesPlan) -> Result<Report> {
    let (next, report) = (AtomicUsize::new(0), Mutex::new(Report::of("rogues", plan.seed)));
    let try_some = || -> Result<()> {
        while let Some(manner) = plan.manners.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = Trial::begin(plan, *manner)?.run();
            let mut report = report.lock().expect("no trial panics");
            report.cycles += 1;
            match outcome {
                Ok(noted) => {
                    report.faults += noted.asked;
                    report.notes.push(format!("{manner:?}: {noted:?}"));
                }
                Err(error) => report.violations.push(format!("{manner:?}: {error:#}")),
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let started: Vec<_> = (0..plan.threads).map(|_| scope.spawn(try_some)).collect();
        started.into_iter().try_for_each(|trial| trial.join().expect("a trial does not panic"))
    })?;
    Ok(report.into_inner().expect("no trial panics"))
}

/// What a trial showed.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "it is shown to people")]
struct Noted {
    /// Questions that were answered with a lie.
    asked: u64,
    wasted: u64,
    longest_gap: Duration,
    lies: u64,
    stalls: u64,
    bans: u64,
    alone: String,
}

struct Trial<'p> {
    plan: &'p RoguesPlan,
    manner: Manner,
    rogue: Rogue,
    cluster: Cluster,
    _folder: TempDir,
    made: u64,
}

impl<'p> Trial<'p> {
    fn begin(plan: &'p RoguesPlan, manner: Manner) -> Result<Self> {
        let cluster = Cluster::start(2)?;
        cluster.wait_alive(ALIVE_WITHIN)?;
        let folder = TempDir::new()?;
        let rogue = Rogue::join(&folder.path().join("rogue"), p2p_address(cluster.node(ASKER))?, manner)?;
        cluster.wait_state(ASKER, &rogue.id(), "alive", ALIVE_WITHIN)?;
        // It is a link as good as any: no connection is about to be replaced.
        let linked = wait_until(ALIVE_WITHIN, || {
            let connections = cluster.api(ASKER).metric("swarm_connections");
            connections.is_ok_and(|open| open == 2).then_some(())
        });
        linked.context("the asker has one connection to each")?;
        Ok(Self { plan, manner, rogue, cluster, _folder: folder, made: 0 })
    }

    fn figure(&self, name: &str) -> Result<u64> {
        self.cluster.api(ASKER).metric(name)
    }

    /// New content, held by the liar, and by an honest node if there is one.
    fn content(&mut self, honest: bool) -> Result<String> {
        let content = Content { seed: self.plan.seed.wrapping_add(self.made), size: self.plan.bytes };
        self.made += 1;
        let name = format!("content-{}", self.made);
        if honest {
            upload(self.cluster.node(HOLDER).address(), &name, content)?;
        }
        // It claims what it has not.
        if self.manner != Manner::ClaimsAll {
            self.rogue.hold(&name, content)?;
        }
        Ok(content.id())
    }

    fn download(&self, id: &str) -> Result<Downloaded> {
        let address = self.cluster.node(ASKER).address();
        Download { address, id, hashed: true, leave_after: None }.run(|_, _| {})
    }

    fn run(mut self) -> Result<Noted> {
        let id = self.content(true)?;
        let got = self.download(&id).context("beside an honest provider")?;
        ensure!(got.hash == id, "wrong bytes under a clean end");
        let (lies, stalls) = (self.figure("fetch_lies_total")?, self.figure("fetch_stalls_total")?);
        let wasted = self.figure("fetch_bytes_in_total")?.saturating_sub(self.plan.bytes as u64);
        let asked = self.asked();
        ensure!(asked > 0, "it was never asked: nothing is shown");
        ensure!((lies > 0) == self.manner.is_lie(), "{lies} lies were noticed");
        ensure!((stalls > 0) == self.manner.stalls(), "{stalls} stalls were noticed");
        ensure!(wasted <= WASTED_BYTES_MAX, "{wasted} bytes were wasted");
        let patience = if self.manner.stalls() { self.plan.stall } else { Duration::ZERO };
        let most = patience + self.plan.next_within;
        ensure!(got.longest_gap <= most, "the client waited {:?}, and {most:?} is enough", got.longest_gap);
        if self.manner.is_lie() {
            self.is_banned_in_the_end()?;
        }
        let bans = self.figure("swarm_bans_total")?;
        let alone = if bans == 0 { self.alone()? } else { Self::begin(self.plan, self.manner)?.alone()? };
        Ok(Noted { asked, wasted, longest_gap: got.longest_gap, lies, stalls, bans, alone })
    }

    /// Questions that it answers in its manner.
    fn asked(&self) -> u64 {
        let of = if self.manner.lies_at_once() { &self.rogue.asked.heads } else { &self.rogue.asked.ranges };
        of.load(Ordering::Relaxed)
    }

    /// It is reported each time, and banned for it; each download ends well meanwhile.
    fn is_banned_in_the_end(&mut self) -> Result<()> {
        for _ in 0..2 * LIES_TO_BAN {
            if self.figure("swarm_bans_total")? > 0 {
                break;
            }
            let id = self.content(true)?;
            ensure!(self.download(&id)?.hash == id, "wrong bytes under a clean end");
        }
        let (bans, lies) = (self.figure("swarm_bans_total")?, self.figure("fetch_lies_total")?);
        ensure!(bans == 1, "{bans} bans after {lies} lies");
        let asked = self.asked();
        let id = self.content(true)?;
        ensure!(self.download(&id)?.hash == id, "wrong bytes under a clean end");
        ensure!(self.asked() == asked, "it was asked again after it was banned");
        Ok(())
    }

    /// Nobody else holds the content: a clear refusal, or a connection that is cut.
    fn alone(mut self) -> Result<String> {
        let id = self.content(false)?;
        match self.download(&id) {
            Ok(got) => {
                ensure!(got.hash == id, "wrong bytes under a clean end");
                ensure!(self.manner.gives_all(), "it brought all, which is not its manner");
                Ok("all came".to_owned())
            }
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(Refused { status: 502, .. }) => Ok("502".to_owned()),
                Some(refused) => anyhow::bail!("without an honest provider: {refused}"),
                None => {
                    let text = format!("{error:#}");
                    ensure!(!self.manner.gives_all(), "all of it could be had: {text}");
                    ensure!(text.contains("early") || text.contains("reset"), "no cut connection: {text}");
                    Ok("cut".to_owned())
                }
            },
        }
    }
}
