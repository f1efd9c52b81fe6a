//! The summaries of others that this node has: which are fresh, which are wanted and when they may be pulled. Pure: the
//! caller brings the time and the links.
//!
//! **Invariant:** a summary rules its node out only while that node could have said that it has changed: its link has
//! not been renewed since the summary was asked for, pings come back on it, and the time is not up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::summary::{Summary, Version};

use super::Config;
use crate::swarm::Link;

/// Members that are remembered: a federation of 1 000 with room for those that went.
const PEERS_MAX: usize = 4096;
/// Pulls of different summaries are spread over this part of the time they are fresh: a sixth.
const SPREAD: u32 = 6;
/// The first pause after a pull that failed; it doubles.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// A summary that nobody has asked about for so many times the time it is fresh is dropped.
const IDLE: u32 = 10;
const MIB: f64 = 1024.0 * 1024.0;

/// All that is known of others.
#[derive(Debug)]
pub(super) struct Held {
    config: Config,
    peers: HashMap<NodeKey, Peer>,
    pulling: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Peer {
    kept: Option<Kept>,
    /// How often it said that it has changed.
    changes_heard: u64,
    is_wanted: bool,
    is_pulling: bool,
    not_before: Instant,
    pause: Duration,
    asked_about: Instant,
}

#[derive(Debug)]
struct Kept {
    summary: Arc<Summary>,
    version: Version,
    /// When it was asked for: it knows all that was committed before.
    begun: Instant,
    as_of: Duration,
    has_changed: bool,
    was_useful: bool,
}

/// A summary that may rule its node out.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) summary: Arc<Summary>,
    /// When it was asked for, as time since 1970.
    pub(super) as_of: Duration,
}

/// A pull that is under way.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) peer: NodeKey,
    pub(super) known: Option<Version>,
    begun: Instant,
    as_of: Duration,
    changes_heard: u64,
}

/// How a pull ended.
#[derive(Debug)]
pub(super) enum Pulled {
    /// Another summary than the one that is here.
    New(Version, Summary),
    /// The one that is here.
    Same,
    /// None came.
    Failed,
    /// The member offers none.
    None,
}

impl Held {
    pub(super) fn new(config: Config) -> Self {
        Self { config, peers: HashMap::new(), pulling: 0, bytes: 0 }
    }

    /// The summary of a member if it is fresh. If it is not, or not for long, it is wanted, unless the member is not
    /// linked: who is asked is linked by the question, and a pull alone is no reason for a link.
    pub(super) fn fresh(&mut self, now: Instant, peer: NodeKey, link: Option<&Link>) -> Option<Fresh> {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, peer| peer.kept.is_some() || peer.is_pulling);
            if self.peers.len() >= PEERS_MAX {
                return None;
            }
        }
        let pause = self.config.pull_pause;
        let entry = self.peers.entry(peer).or_insert_with(|| Peer::met(now, pause));
        entry.asked_about = now;
        let fresh = entry.kept.as_ref().filter(|kept| kept.is_fresh(now, link, &self.config));
        let spread = self.config.fresh_for / SPREAD * u32::from(peer.0[0]) / u32::from(u8::MAX);
        let renewed_after = self.config.renewed_after + spread;
        let is_old = fresh.is_none_or(|kept| now.saturating_duration_since(kept.begun) >= renewed_after);
        entry.is_wanted |= is_old && link.is_some();
        fresh.map(|kept| Fresh { summary: Arc::clone(&kept.summary), as_of: kept.as_of })
    }

    /// Whether a pull may begin now.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// When the next pull may begin.
    pub(super) fn due(&self) -> Option<Instant> {
        let has_room = self.pulling < self.config.pulls_at_once;
        let waiting = self.peers.values().filter(|peer| has_room && peer.is_wanted && !peer.is_pulling);
        waiting.map(|peer| peer.not_before).min()
    }

    /// Begins the pulls that may begin now. `as_of` is the time since 1970.
    pub(super) fn begin(&mut self, now: Instant, as_of: Duration) -> Vec<Pull> {
        let room = self.config.pulls_at_once.saturating_sub(self.pulling);
        let due = |peer: &Peer| peer.is_wanted && !peer.is_pulling && peer.not_before <= now;
        let due = self.peers.iter_mut().filter(|(_, peer)| due(peer)).take(room);
        let begin = |(key, peer): (&NodeKey, &mut Peer)| {
            (peer.is_wanted, peer.is_pulling) = (false, true);
            let known = peer.kept.as_ref().map(|kept| kept.version);
            Pull { peer: *key, known, begun: now, as_of, changes_heard: peer.changes_heard }
        };
        let pulls: Vec<_> = due.map(begin).collect();
        self.pulling += pulls.len();
        pulls
    }

    /// Takes what a pull brought.
    pub(super) fn ended(&mut self, now: Instant, pull: &Pull, pulled: Pulled) {
        self.pulling = self.pulling.saturating_sub(1);
        let Some(peer) = self.peers.get_mut(&pull.peer) else { return };
        peer.is_pulling = false;
        let has_changed = peer.changes_heard != pull.changes_heard;
        match pulled {
            Pulled::New(version, summary) => {
                peer.pause_after(summary.bytes(), &self.config);
                let (summary, begun, as_of) = (Arc::new(summary), pull.begun, pull.as_of);
                let kept = Kept { summary, version, begun, as_of, has_changed, was_useful: false };
                peer.kept = Some(kept);
                peer.is_wanted &= has_changed;
            }
            Pulled::Same => match &mut peer.kept {
                Some(kept) if Some(kept.version) == pull.known => {
                    (kept.begun, kept.as_of, kept.has_changed) = (pull.begun, pull.as_of, has_changed);
                    peer.is_wanted &= has_changed;
                }
                _ => {}
            },
            Pulled::Failed | Pulled::None => {
                peer.pause = peer.pause.saturating_mul(2).clamp(FAILED_PAUSE, self.config.pull_pause_max);
                peer.kept.take_if(|_| matches!(pulled, Pulled::None));
            }
        }
        peer.not_before = now + peer.pause;
        self.make_room(now, pull.peer);
    }

    /// A member says that it holds more than its summary knows.
    pub(super) fn changed(&mut self, peer: NodeKey) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.changes_heard += 1;
            if let Some(kept) = &mut peer.kept {
                kept.has_changed = true;
            }
        }
    }

    /// Notes that the summaries of these spared a question. Returns how many they were.
    pub(super) fn were_useful(&mut self, peers: impl Iterator<Item = NodeKey>) -> u64 {
        let mut count = 0;
        for peer in peers {
            count += 1;
            if let Some(kept) = self.peers.get_mut(&peer).and_then(|peer| peer.kept.as_mut()) {
                kept.was_useful = true;
            }
        }
        count
    }

    pub(super) fn as_of(&self) -> BTreeMap<NodeKey, Duration> {
        let kept = |(key, peer): (&NodeKey, &Peer)| peer.kept.as_ref().map(|kept| (*key, kept.as_of));
        self.peers.iter().filter_map(kept).collect()
    }

    /// Memory of all summaries, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops what has been idle for long, and what has been idle longest until the rest fits.
    fn make_room(&mut self, now: Instant, newest: NodeKey) {
        let idle = self.config.fresh_for * IDLE;
        let mut kept: Vec<_> = self.peers.iter_mut().filter(|(_, peer)| peer.kept.is_some()).collect();
        kept.sort_unstable_by_key(|(key, peer)| (**key == newest, peer.asked_about));
        let size = |peer: &Peer| peer.kept.as_ref().map_or(0, |kept| kept.summary.bytes());
        self.bytes = kept.iter().map(|(_, peer)| size(peer)).sum();
        for (_, peer) in kept {
            let is_idle = now.saturating_duration_since(peer.asked_about) >= idle;
            if is_idle || self.bytes > self.config.bytes_max {
                self.bytes -= size(peer);
                peer.kept = None;
            }
        }
    }
}

impl Peer {
    const fn met(now: Instant, pause: Duration) -> Self {
        Self {
            kept: None,
            changes_heard: 0,
            is_wanted: false,
            is_pulling: false,
            not_before: now,
            pause,
            asked_about: now,
        }
    }

    /// A summary that was outdated before it spared a question is pulled less and less often.
    fn pause_after(&mut self, bytes: usize, config: &Config) {
        let least = config.pull_pause + config.pull_pause_mib.mul_f64(bytes as f64 / MIB);
        let was_useless = self.kept.as_ref().is_some_and(|kept| !kept.was_useful);
        let pause = if was_useless { self.pause.saturating_mul(2).max(least) } else { least };
        self.pause = pause.min(config.pull_pause_max);
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant, link: Option<&Link>, config: &Config) -> bool {
        let since = |then| now.saturating_duration_since(then);
        link.is_some_and(|link| {
            link.renewed <= self.begun
                && since(link.heard.max(self.begun)) <= config.silent_max
                && since(self.begun) < config.fresh_for
                && !self.has_changed
        })
    }
}

#[cfg(test)]
mod tests;
