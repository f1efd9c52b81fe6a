//! Where verified groups wait for their consumers: in order, and bounded, because nothing is asked for that would not
//! fit. A little of what all have taken is kept, so that those who come a moment later share the same transfer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

/// How long a consumer may take nothing while it holds up others.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bell is rung for this many bytes that are taken: far less than a window, far more than a group.
const BELL_BYTES: u64 = 128 << 10;

/// Why no more comes of a transfer that did not say how it ended.
const BROKE_OFF: &str = "the transfer broke off";

/// How a transfer ended.
pub(super) type Ended = Option<Result<(), Arc<str>>>;

/// What has come, and how it ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// All before this byte has come.
    to: u64,
    pub(super) ended: Ended,
    /// How many consumers were sent away; a change wakes them.
    sent_away: u64,
}

/// The shelf of one transfer.
#[derive(Debug)]
pub(super) struct Shelf {
    range: Range<u64>,
    history_bytes: u64,
    inner: Mutex<Inner>,
    progress: watch::Sender<Progress>,
    /// Rung when consumers took something, came or left.
    bell: Notify,
}

#[derive(Debug)]
struct Inner {
    pieces: BTreeMap<u64, Bytes>,
    /// Nothing before this byte is here any more.
    base: u64,
    to: u64,
    consumers: BTreeMap<u64, Spot>,
    next_consumer: u64,
    /// Who brought something.
    providers: BTreeSet<NodeKey>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Spot {
    at: u64,
    moved: Instant,
}

/// What a consumer gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The next bytes.
    Bytes(Bytes),
    /// Nothing is there yet.
    Nothing,
    /// It was too slow for the others, and must go on by itself.
    SentAway,
}

impl Shelf {
    /// For groups of `range`.
    pub(super) fn new(range: Range<u64>, history_bytes: u64) -> Self {
        let inner = Inner {
            pieces: BTreeMap::new(),
            base: range.start,
            to: range.start,
            consumers: BTreeMap::new(),
            next_consumer: 0,
            providers: BTreeSet::new(),
            is_closed: false,
        };
        let progress = watch::Sender::new(Progress { to: range.start, ..Progress::default() });
        Self { range, history_bytes, inner: Mutex::new(inner), progress, bell: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a consumer of `range` in, if all of it is here or comes soon. One that begins further ahead would wait at
    /// the pace of others, and if they left, all up to its begin would be brought for nobody.
    pub(super) fn enter(self: &Arc<Self>, range: Range<u64>, now: Instant) -> Option<Consumer> {
        if matches!(self.progress.borrow().ended, Some(Err(_))) {
            return None;
        }
        let mut inner = self.lock();
        let soon = inner.base..=inner.to.saturating_add(self.history_bytes);
        let fits = soon.contains(&range.start) && range.end <= self.range.end;
        if !fits || inner.is_closed {
            return None;
        }
        let id = inner.next_consumer;
        inner.next_consumer += 1;
        inner.consumers.insert(id, Spot { at: range.start, moved: now });
        drop(inner);
        self.bell.notify_one();
        Some(Consumer { shelf: Arc::clone(self), id, range, progress: self.progress.subscribe() })
    }

    /// Notes who brought something.
    pub(super) fn note_provider(&self, provider: NodeKey) {
        self.lock().providers.insert(provider);
    }

    /// Puts verified groups on the shelf.
    pub(super) fn put(&self, groups: impl IntoIterator<Item = (u64, Bytes)>) {
        let mut inner = self.lock();
        let before = inner.to;
        inner.pieces.extend(groups.into_iter().filter(|(offset, _)| *offset >= before));
        while let Some(piece) = inner.pieces.get(&inner.to) {
            inner.to += piece.len() as u64;
        }
        let to = inner.to;
        drop(inner);
        if to > before {
            self.progress.send_modify(|progress| progress.to = to);
        }
    }

    /// Says how the transfer ended.
    pub(super) fn end(&self, result: Result<(), Arc<str>>) {
        self.progress.send_modify(|progress| progress.ended = Some(result));
    }

    /// Says that nothing more comes, unless it ended otherwise, and lets nobody in.
    pub(super) fn break_off(&self) {
        self.lock().is_closed = true;
        self.progress.send_if_modified(|progress| {
            let goes_on = progress.ended.is_none();
            progress.ended.get_or_insert_with(|| Err(BROKE_OFF.into()));
            goes_on
        });
    }

    /// Waits until consumers took something, came or left.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// Everything before this byte has come.
    pub(super) fn came(&self) -> u64 {
        self.lock().to
    }

    /// All consumers have taken everything before this byte; the start of the range if there is none.
    pub(super) fn taken(&self) -> u64 {
        self.lock().slowest().map_or(self.range.start, |(_, spot)| spot.at)
    }

    /// The whole range.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes of the whole range.
    pub(super) const fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether nobody is here.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().consumers.is_empty()
    }

    /// Whether something is still to come, or to be taken. What only waits for those who come later does neither.
    pub(super) fn is_in_use(&self) -> bool {
        self.progress.borrow().ended.is_none() || !self.is_idle()
    }

    /// Whether all that was to come is still here.
    pub(super) fn is_whole(&self) -> bool {
        let inner = self.lock();
        inner.base == self.range.start && inner.to == self.range.end
    }

    /// Closes the shelf if nobody is here. Nobody gets in then.
    pub(super) fn close_if_idle(&self) -> bool {
        let mut inner = self.lock();
        inner.is_closed |= inner.consumers.is_empty();
        inner.is_closed
    }

    /// Whether nobody gets in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Sends the slowest consumer away if it holds up others.
    pub(super) fn relieve(&self, now: Instant) {
        let mut inner = self.lock();
        let Some((slowest, spot)) = inner.slowest() else { return };
        let is_stuck = now.saturating_duration_since(spot.moved) >= PATIENCE && spot.at < inner.to;
        let waits = inner.consumers.values().any(|other| other.at >= inner.to);
        if !is_stuck || !waits || inner.to == self.range.end {
            return;
        }
        inner.consumers.remove(&slowest);
        inner.tidy(self.history_bytes);
        drop(inner);
        self.progress.send_modify(|progress| progress.sent_away += 1);
        self.bell.notify_one();
    }
}

impl Inner {
    fn slowest(&self) -> Option<(u64, Spot)> {
        self.consumers.iter().min_by_key(|(_, spot)| spot.at).map(|(id, spot)| (*id, *spot))
    }

    /// Drops what all have taken, but for a little.
    fn tidy(&mut self, history_bytes: u64) {
        let Some((_, slowest)) = self.slowest() else { return };
        let keep_from = slowest.at.saturating_sub(history_bytes);
        while let Some(first) = self.pieces.first_entry() {
            let end = first.key() + first.get().len() as u64;
            if end > keep_from || end > self.to {
                return;
            }
            first.remove();
            self.base = end;
        }
    }
}

/// One consumer's place at a shelf.
#[derive(Debug)]
pub(super) struct Consumer {
    shelf: Arc<Shelf>,
    id: u64,
    /// What it still wants.
    range: Range<u64>,
    progress: watch::Receiver<Progress>,
}

impl Consumer {
    /// What is still to be taken.
    pub(super) fn wants(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The next bytes, when they have come; `None` if it was sent away.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Arc<str>> {
        loop {
            // Read before looking, so that nothing that comes in between is slept through.
            let ended = self.progress.borrow_and_update().ended.clone();
            match (self.take(Instant::now()), ended) {
                (Taken::Bytes(bytes), _) => return Ok(Some(bytes)),
                (Taken::SentAway, _) => return Ok(None),
                (Taken::Nothing, Some(Err(reason))) => return Err(reason),
                (Taken::Nothing, Some(Ok(()))) => return Err("the transfer ended early".into()),
                (Taken::Nothing, None) => {}
            }
            // The shelf is held here, and with it the sender.
            self.progress.changed().await.map_err(|_| BROKE_OFF)?;
        }
    }

    /// Who brought something of this transfer.
    pub(super) fn providers(&self) -> BTreeSet<NodeKey> {
        self.shelf.lock().providers.clone()
    }

    /// Waits for the end of the transfer.
    pub(super) async fn ended(&mut self) {
        // One that breaks off ends, too, and the shelf is held here, with the sender.
        self.progress.wait_for(|progress| progress.ended.is_some()).await.ok();
    }

    fn take(&mut self, now: Instant) -> Taken {
        let mut inner = self.shelf.lock();
        if !inner.consumers.contains_key(&self.id) {
            return Taken::SentAway;
        }
        let at = self.range.start;
        let found = inner.pieces.range(..=at).next_back().filter(|_| at < inner.to);
        let Some((start, piece)) = found else { return Taken::Nothing };
        let end = (self.range.end - start).min(piece.len() as u64);
        let bytes = piece.slice((at - start) as usize..end as usize);
        self.range.start += bytes.len() as u64;
        let (before, at) = (at, self.range.start);
        inner.consumers.insert(self.id, Spot { at, moved: now });
        inner.tidy(self.shelf.history_bytes);
        drop(inner);
        if before / BELL_BYTES != at / BELL_BYTES || self.range.is_empty() {
            self.shelf.bell.notify_one();
        }
        Taken::Bytes(bytes)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut inner = self.shelf.lock();
        inner.consumers.remove(&self.id);
        inner.tidy(self.shelf.history_bytes);
        drop(inner);
        self.shelf.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const PIECE: u64 = 1000;
    const HISTORY: u64 = 3 * PIECE;

    fn shelf(pieces: u64) -> Arc<Shelf> {
        Arc::new(Shelf::new(0..pieces * PIECE, HISTORY))
    }

    fn put(shelf: &Shelf, pieces: Range<u64>) {
        shelf.put(pieces.map(|number| (number * PIECE, Bytes::from(vec![0; PIECE as usize]))));
    }

    fn take(consumer: &mut Consumer) -> Option<usize> {
        consumer.next().now_or_never().map(|bytes| bytes.unwrap().unwrap().len())
    }

    #[test]
    fn who_begins_far_ahead_of_what_has_come_is_not_let_in() {
        let (shelf, now) = (shelf(100), Instant::now());
        let enter = |start| shelf.enter(start..100 * PIECE, now);
        let mut first = enter(0).unwrap();
        assert!(enter(90 * PIECE).is_none() && enter(HISTORY + 1).is_none());
        let ahead = enter(HISTORY).unwrap();
        put(&shelf, 0..50);
        assert!(enter(90 * PIECE).is_none() && enter(50 * PIECE).is_some());
        assert_eq!(take(&mut first), Some(PIECE as usize));
        // Without the slowest, no more than a little is here that nobody takes.
        drop(first);
        assert_eq!((shelf.taken(), shelf.lock().base), (HISTORY, 0));
        drop(ahead);
    }

    #[test]
    fn who_waits_for_what_has_not_come_is_relieved_of_one_who_takes_nothing() {
        let (shelf, now) = (shelf(100), Instant::now());
        let mut slow = shelf.enter(0..100 * PIECE, now).unwrap();
        put(&shelf, 0..10);
        let mut ahead = shelf.enter(11 * PIECE..100 * PIECE, now).unwrap();
        assert_eq!(take(&mut ahead), None);
        shelf.relieve(now + PATIENCE);
        assert_eq!(slow.take(now), Taken::SentAway);
        put(&shelf, 10..12);
        assert_eq!(take(&mut ahead), Some(PIECE as usize));
    }

    #[test]
    fn those_who_wait_hear_that_a_transfer_broke_off() {
        let shelf = shelf(2);
        let mut consumer = shelf.enter(0..2 * PIECE, Instant::now()).unwrap();
        put(&shelf, 0..1);
        shelf.break_off();
        assert_eq!(take(&mut consumer), Some(PIECE as usize), "what has come is given");
        assert!(consumer.next().now_or_never().unwrap().is_err());
        assert!(consumer.ended().now_or_never().is_some());
        assert!(shelf.is_closed() && shelf.enter(0..PIECE, Instant::now()).is_none());
    }
}
