//! The loop of fetch: it knows which searches and transfers are under way, so that all who want the same share one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::AssetId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::search::{self, Search};
use super::shared::Shared;
use super::shelf::{Consumer, Shelf};
use super::state::{Plan, State};
use super::transfer::{self, Order};
use super::{Config, Error, Found};
use crate::actor::Reply;
use crate::blobs::tree::GROUP_BYTES;

/// Ranges of one transfer that are asked for at once.
const JOBS_MAX: u64 = 4;
/// The same where many share the memory: two, so that one comes while the other is asked for.
const CROWDED_JOBS_MAX: u64 = 2;
/// How long what a search has found is taken for true.
const FOUND_FOR: Duration = Duration::from_secs(2);

/// What the handle asks.
#[derive(Debug)]
pub(super) enum Question {
    /// Who holds a blob?
    Search { id: AssetId, reply: Reply<Result<watch::Receiver<Search>, Error>> },
    /// A place at a transfer of what was found.
    Enter { found: Found, range: Range<u64>, reply: Reply<Result<Consumer, Error>> },
}

struct Actor {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    searches: HashMap<AssetId, (watch::Receiver<Search>, Instant)>,
    transfers: Vec<(AssetId, Arc<Shelf>)>,
}

/// Runs until the node stops.
pub(super) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Question>, stop: CancellationToken) {
    let mut actor = Actor { shared, tasks: JoinSet::new(), searches: HashMap::new(), transfers: Vec::new() };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            question = inbox.recv() => match question {
                // The asker may have given up.
                Some(Question::Search { id, reply }) => {
                    reply.send(actor.search(id)).ok();
                }
                Some(Question::Enter { found, range, reply }) => {
                    reply.send(actor.enter(&found, range)).ok();
                }
                None => return,
            },
            Some(ended) = actor.tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a transfer broke off");
                }
                actor.tidy();
            }
        }
    }
}

impl Actor {
    /// Forgets what is over.
    fn tidy(&mut self) {
        let now = Instant::now();
        self.searches.retain(|_, (search, begun)| {
            let is_fresh = now.saturating_duration_since(*begun) < FOUND_FOR;
            goes_on(search) || (is_fresh && search.borrow().found.is_some())
        });
        self.transfers.retain(|(_, shelf)| !shelf.is_closed());
    }

    /// Makes room for one more search: what an earlier one has found need not be remembered. False if all go on.
    fn forget_one(&mut self) -> bool {
        let over = self.searches.iter().filter(|(_, (search, _))| !goes_on(search));
        let oldest = over.min_by_key(|(_, (_, begun))| *begun).map(|(id, _)| *id);
        oldest.is_some_and(|id| self.searches.remove(&id).is_some())
    }

    fn search(&mut self, id: AssetId) -> Result<watch::Receiver<Search>, Error> {
        self.tidy();
        if let Some((search, _)) = self.searches.get(&id) {
            return Ok(search.clone());
        }
        if self.searches.len() >= self.shared.config.searches_max && !self.forget_one() {
            return Err(Error::Busy);
        }
        let (tell, search) = watch::channel(Search::default());
        self.searches.insert(id, (search.clone(), Instant::now()));
        self.tasks.spawn(search::run(Arc::clone(&self.shared), id, tell));
        Ok(search)
    }

    fn enter(&mut self, found: &Found, range: Range<u64>) -> Result<Consumer, Error> {
        self.tidy();
        let now = Instant::now();
        let mut same = self.transfers.iter().filter(|(id, _)| *id == found.id);
        if let Some(consumer) = same.find_map(|(_, shelf)| shelf.enter(range.clone(), now)) {
            return Ok(consumer);
        }
        let config = &self.shared.config;
        // What only lingers has a bound of its own.
        let others = self.transfers.iter().filter(|(_, shelf)| shelf.is_in_use()).count();
        if others >= config.transfers_max {
            return Err(Error::Busy);
        }
        let (plan, history_bytes) = plan(config, others);
        let group = GROUP_BYTES as u64;
        let whole = range.start / group * group..range.end.next_multiple_of(group).min(found.size);
        let shelf = Arc::new(Shelf::new(whole.clone(), history_bytes));
        let consumer = shelf.enter(range, now).ok_or(Error::Busy)?;
        let order = Order {
            id: found.id,
            size: found.size,
            shelf: Arc::clone(&shelf),
            search: found.search.clone(),
            facts: found.facts.clone(),
        };
        self.transfers.push((found.id, shelf));
        let state = State::new(plan, whole);
        self.tasks.spawn(transfer::run(Arc::clone(&self.shared), order, state));
        Ok(consumer)
    }
}

/// A search that broke off is over, too.
fn goes_on(search: &watch::Receiver<Search>) -> bool {
    search.has_changed().is_ok() && !search.borrow().is_over
}

/// Shares memory out: part is what was taken already, the rest the window. Many transfers have less each, and then fewer
/// ranges at once: what keeps a link busy is all of them together.
fn plan(config: &Config, others: usize) -> (Plan, u64) {
    let share = config.buffer_bytes_max / (others as u64 + 1);
    let share = share.clamp(config.buffer_bytes_min.min(config.buffer_bytes_each), config.buffer_bytes_each);
    let is_crowded = share < config.buffer_bytes_each / 4;
    let (jobs, parts) = if is_crowded { (CROWDED_JOBS_MAX, 8) } else { (JOBS_MAX, 4) };
    let history = share / parts;
    let range = ((share - history) / jobs).next_multiple_of(GROUP_BYTES as u64);
    (Plan { range_bytes: range, window_bytes: jobs * range, jobs_max: jobs as usize }, history)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_transfers_the_less_each_may_hold() {
        let config = Config::default();
        let held = |others| {
            let (plan, history) = plan(&config, others);
            assert_eq!(plan.window_bytes, plan.range_bytes * plan.jobs_max as u64);
            assert!(plan.range_bytes.is_multiple_of(GROUP_BYTES as u64) && plan.range_bytes > 0);
            (plan.window_bytes + history, plan.jobs_max)
        };
        // A range ends with a group.
        let rounded = 4 * GROUP_BYTES as u64;
        assert!((config.buffer_bytes_each..config.buffer_bytes_each + rounded).contains(&held(0).0));
        assert_eq!(held(0).1, 4);
        for others in 1..config.transfers_max {
            assert!(held(others).0 <= held(others - 1).0 && held(others).1 <= held(others - 1).1, "{others}");
        }
        assert!(held(config.transfers_max - 1).0 < config.buffer_bytes_min + rounded);
    }
}
