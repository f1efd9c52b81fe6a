//! Anti-entropy: finding where two maps differ and giving each what it lacks. Pure; who asks keeps a [`Session`], who
//! answers keeps nothing.
//!
//! A session walks the keys once from the first to the last: fingerprints, then stamps of the buckets that differ,
//! then envelopes. Whatever it changed is looked at again in another walk, until a walk changes nothing.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use assetmesh_protocol::registry::{BUCKETS, BucketStamps, RecordKey, Stamp, SyncAnswer, SyncAsk, Verified};

use super::map::{Map, first_key, stamp};

/// A step of anti-entropy between verified maps.
pub type Ask = SyncAsk<Arc<Verified>>;
/// The answer to a step.
pub type Answer = SyncAnswer<Arc<Verified>>;

/// Bytes of envelopes in one answer. 256 KiB: no round holds a link for long.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of envelopes in one request, which may have 64 KiB in all.
const GIVE_BYTES_MAX: usize = 48 * 1024;
/// Keys wanted in one request, 8 KiB.
const WANT_MAX: usize = 512;
/// Stamps in one answer, 200 KiB.
const STAMPS_MAX: usize = 5_000;
/// Steps of one session. 100 000 envelopes of 500 bytes take 250.
const STEPS_MAX: u32 = 1_000;
/// Walks of one session: a difference that five walks do not mend waits for the next session.
const WALKS_MAX: u32 = 5;
/// Envelopes given in one session; the peer fetches the rest itself, faster, in a session of its own.
const GIVEN_MAX: usize = 2_000;
/// Differences looked at in one session. A registry has at most 100 000 envelopes; a peer that names more lies.
const TRIED_MAX: usize = 150_000;
/// What an envelope takes on the wire beside its body.
const ENVELOPE_OVERHEAD: usize = 80;

/// One side's view of mending the differences with one peer.
#[derive(Debug)]
pub struct Session {
    want: VecDeque<RecordKey>,
    give: VecDeque<RecordKey>,
    /// What the last request asked for.
    asked: Asked,
    /// Where the next comparison begins; nothing when the walk is over.
    from: Option<RecordKey>,
    /// Stamps that were wanted or given once: what did not help then will not help now.
    tried: HashSet<(RecordKey, u64)>,
    given: usize,
    changed: bool,
    steps: u32,
    walks: u32,
}

#[derive(Debug)]
enum Asked {
    Nothing,
    Compare(RecordKey),
    Exchange(Vec<RecordKey>),
}

impl Default for Session {
    fn default() -> Self {
        Self {
            want: VecDeque::new(),
            give: VecDeque::new(),
            asked: Asked::Nothing,
            from: Some(first_key(0)),
            tried: HashSet::new(),
            given: 0,
            changed: false,
            steps: 0,
            walks: 1,
        }
    }
}

impl Session {
    /// The next request, or nothing when there is no more to do.
    pub fn next(&mut self, map: &Map) -> Option<Ask> {
        if self.steps >= STEPS_MAX || self.tried.len() >= TRIED_MAX {
            return None;
        }
        self.steps += 1;
        if !self.want.is_empty() || !self.give.is_empty() {
            return Some(self.exchange(map));
        }
        if self.from.is_none() && self.changed && self.walks < WALKS_MAX {
            self.walks += 1;
            self.changed = false;
            self.from = Some(first_key(0));
        }
        let from = self.from.take()?;
        self.asked = Asked::Compare(from);
        Some(Ask::Compare { fingerprints: map.fingerprints(), from })
    }

    /// Takes the answer to the last request. Returns what is to be merged; whoever merges tells
    /// [`Session::merged`].
    pub fn answered(&mut self, map: &Map, answer: Answer) -> Vec<Arc<Verified>> {
        match (std::mem::replace(&mut self.asked, Asked::Nothing), answer) {
            (Asked::Compare(from), Answer::Stamps { buckets, next }) => {
                self.compare(map, from, &buckets, next);
                Vec::new()
            }
            (Asked::Exchange(keys), Answer::Envelopes { mut envelopes, taken }) => {
                self.changed |= taken > 0;
                self.received(keys, &envelopes);
                // Where an owner is at its bound, its deletes make room for the rest.
                envelopes.sort_by_key(|record| !record.is_deleted());
                envelopes
            }
            // A peer that is busy, or answers something else, is asked again another time.
            _ => {
                self.steps = STEPS_MAX;
                Vec::new()
            }
        }
    }

    /// Learns how many of the envelopes were news.
    pub const fn merged(&mut self, news: usize) {
        self.changed |= news > 0;
    }

    fn exchange(&mut self, map: &Map) -> Ask {
        let want: Vec<_> = self.want.drain(..self.want.len().min(WANT_MAX)).collect();
        let (mut give, mut bytes) = (Vec::new(), 0);
        while let Some(key) = self.give.front() {
            let record = map.get(key);
            let size = record.map_or(0, |record| record.envelope().body.len() + ENVELOPE_OVERHEAD);
            if bytes + size > GIVE_BYTES_MAX {
                break;
            }
            bytes += size;
            give.extend(record.cloned());
            self.give.pop_front();
        }
        self.asked = Asked::Exchange(want.clone());
        Ask::Exchange { want, give }
    }

    /// What did not fit is asked for again, as long as anything comes.
    fn received(&mut self, asked: Vec<RecordKey>, envelopes: &[Arc<Verified>]) {
        if envelopes.is_empty() {
            return;
        }
        let came: HashSet<_> = envelopes.iter().map(|record| record.key()).collect();
        for key in asked.into_iter().rev().filter(|key| !came.contains(key)) {
            self.want.push_front(key);
        }
    }

    fn compare(&mut self, map: &Map, from: RecordKey, buckets: &[BucketStamps], next: Option<RecordKey>) {
        // A walk only goes forward.
        self.from = next.filter(|next| *next > from);
        for BucketStamps { bucket, stamps } in buckets {
            let theirs: BTreeMap<_, _> = stamps.iter().map(|stamp| (stamp.key, *stamp)).collect();
            for stamp in theirs.values().filter(|stamp| stamp.key.bucket() == *bucket) {
                self.compare_one(map, stamp);
            }
            let until = next.filter(|next| next.bucket() == *bucket);
            let mine = map.range(*bucket, from).map(|(key, record)| (*key, record));
            for (key, record) in mine.take_while(|(key, _)| until.is_none_or(|until| *key < until)) {
                if !theirs.contains_key(&key) {
                    self.offer(record);
                }
            }
        }
    }

    fn compare_one(&mut self, map: &Map, theirs: &Stamp) {
        let Some(record) = map.get(&theirs.key) else {
            self.demand(theirs);
            return;
        };
        let mine = stamp(record);
        if mine.version > theirs.version {
            self.offer(record);
        } else if mine.version < theirs.version {
            self.demand(theirs);
        } else if mine.hash != theirs.hash {
            // Two bodies with one version: each side takes the one that stands.
            self.offer(record);
            self.demand(theirs);
        }
    }

    fn offer(&mut self, record: &Verified) {
        let stamp = stamp(record);
        if self.given < GIVEN_MAX && self.tried.insert((stamp.key, stamp.hash)) {
            self.given += 1;
            self.give.push_back(stamp.key);
        }
    }

    fn demand(&mut self, stamp: &Stamp) {
        if self.tried.insert((stamp.key, stamp.hash)) {
            self.want.push_back(stamp.key);
        }
    }
}

/// What a step asks, without what it gives.
#[derive(Debug)]
pub enum Question {
    /// Where do we differ?
    Compare {
        /// The asker's fingerprints.
        fingerprints: Vec<u128>,
        /// Keys before this one have been compared already.
        from: RecordKey,
    },
    /// Which envelopes the asker wants.
    Want(Vec<RecordKey>),
}

/// Parts a step into what it asks and what it gives.
#[must_use]
pub fn part<E>(ask: SyncAsk<E>) -> (Question, Vec<E>) {
    match ask {
        SyncAsk::Compare { fingerprints, from } => (Question::Compare { fingerprints, from }, Vec::new()),
        SyncAsk::Exchange { want, give } => (Question::Want(want), give),
    }
}

/// Answers a step, after what it gave has been merged; `taken` says how many of that were news.
#[must_use]
pub fn answer(map: &Map, question: &Question, taken: usize) -> Answer {
    match question {
        Question::Compare { fingerprints, from } => stamps(map, fingerprints, *from),
        Question::Want(keys) => {
            let taken = u32::try_from(taken).unwrap_or(u32::MAX);
            Answer::Envelopes { envelopes: wanted(map, keys), taken }
        }
    }
}

fn stamps(map: &Map, fingerprints: &[u128], from: RecordKey) -> Answer {
    let (mut buckets, mut room) = (Vec::new(), STAMPS_MAX);
    if fingerprints.len() != BUCKETS {
        return Answer::Busy;
    }
    for bucket in from.bucket()..=u8::MAX {
        if fingerprints[usize::from(bucket)] == map.fingerprint(bucket) {
            continue;
        }
        let mut records = map.range(bucket, from);
        let stamps: Vec<_> = records.by_ref().take(room).map(|(_, record)| stamp(record)).collect();
        // A bucket takes room even if it is empty.
        room = room.saturating_sub(stamps.len().max(1));
        let rest = records.next().map(|(key, _)| *key);
        buckets.push(BucketStamps { bucket, stamps });
        if let Some(next) = rest {
            return Answer::Stamps { buckets, next: Some(next) };
        }
        if room == 0 {
            let next = bucket.checked_add(1).map(first_key);
            return Answer::Stamps { buckets, next };
        }
    }
    Answer::Stamps { buckets, next: None }
}

fn wanted(map: &Map, keys: &[RecordKey]) -> Vec<Arc<Verified>> {
    let (mut envelopes, mut bytes) = (Vec::new(), 0);
    for record in keys.iter().take(WANT_MAX).filter_map(|key| map.get(key)) {
        bytes += record.envelope().body.len() + ENVELOPE_OVERHEAD;
        if bytes > ANSWER_BYTES_MAX {
            break;
        }
        envelopes.push(Arc::clone(record));
    }
    envelopes
}

#[cfg(test)]
mod tests;
