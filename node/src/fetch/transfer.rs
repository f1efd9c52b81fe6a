//! One transfer: starts and stops the jobs that the state decides on, and puts what they bring on the shelf.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::blob::BlobWant;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::ask::{self, Fault};
use super::keeping::Keeping;
use super::search::{self, Search};
use super::shared::Shared;
use super::shelf::Shelf;
use super::state::{Input, JobId, Output, State, Trouble};
use super::views::Page;
use crate::blobs::tree::Node;

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// Groups that jobs may be ahead of the loop.
const EVENTS: usize = 64;
/// How long a transfer that has ended keeps its content for those who come a moment later.
const LINGER: Duration = Duration::from_secs(2);
/// The least that such content counts for, however small it is: there are no more than 256 of it.
const LINGER_KIB_MIN: u64 = 128;

/// What is to be brought.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: AssetId,
    pub(super) size: u64,
    pub(super) shelf: Arc<Shelf>,
    pub(super) search: watch::Receiver<Search>,
    pub(super) facts: FileFacts,
}

/// What a job tells.
#[derive(Debug)]
enum Event {
    Group { job: JobId, offset: u64, bytes: Bytes, nodes: Vec<Node> },
    Ended { job: JobId, fault: Option<Fault> },
}

/// Brings it all, or says on the shelf why not. Ends early when nobody wants it any more.
pub(super) async fn run(shared: Arc<Shared>, order: Order, state: State) {
    let shelf = Arc::clone(&order.shelf);
    let _ending = Ending(Arc::clone(&shelf));
    shared.metrics.transfers.inc();
    let under_way = Counted::new(&shared);
    let (tell, events) = mpsc::channel(EVENTS);
    let keeper = shared.blobs.keeper(order.id, order.size, order.facts.clone());
    let page = Page::new(&shared.views, order.id, order.size, Instant::now());
    let mut transfer = Transfer {
        page,
        shared: Arc::clone(&shared),
        order,
        state,
        tell,
        tasks: JoinSet::new(),
        jobs: HashMap::new(),
        keeping: Keeping::new(keeper, Instant::now()),
        providers_seen: 0,
        is_search_open: true,
        trouble: "no provider is left".to_owned(),
    };
    let result = transfer.bring(events).await;
    transfer.show();
    let id = transfer.order.id;
    if let Some(result) = result {
        shelf.end(result.map_err(Arc::from));
    }
    // What was proven is kept, whatever came after.
    transfer.keeping.flush_ended(|_| false).await;
    drop((transfer, under_way));
    linger(&shared, &id, &shelf).await;
}

/// Wakes those who wait at the shelf, also when the transfer panics or is aborted, and lets nobody in after that.
struct Ending(Arc<Shelf>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.break_off();
    }
}

/// Counts a transfer as under way.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.under_way.inc();
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.under_way.dec();
    }
}

/// Keeps the shelf as long as it has consumers, and a little longer if it is small and whole and the content is not
/// kept in the store either. Else those who come later would never bring it there again.
async fn linger(shared: &Shared, id: &AssetId, shelf: &Shelf) {
    let kib = u32::try_from(shelf.bytes().div_ceil(1024).max(LINGER_KIB_MIN)).unwrap_or(u32::MAX);
    let is_kept = shared.blobs.cached(id).is_some_and(|cached| cached.has(&shelf.range()));
    let room = (shelf.is_whole() && !is_kept).then(|| shared.lingering.try_acquire_many(kib).ok()).flatten();
    loop {
        while !shelf.is_idle() {
            shelf.changed().await;
        }
        let came = async {
            while shelf.is_idle() {
                shelf.changed().await;
            }
        };
        let waited = match room {
            Some(_) => tokio::time::timeout(LINGER, came).await.is_err(),
            None => true,
        };
        if waited && shelf.close_if_idle() {
            return;
        }
    }
}

/// What one job is to bring, and of whom.
#[derive(Debug)]
struct Job {
    job: JobId,
    provider: NodeKey,
    range: Range<u64>,
    /// What is behind this was left to another meanwhile.
    end: Arc<AtomicU64>,
}

/// One job: a range of a blob of this id and size.
async fn bring_range(
    shared: &Shared,
    (id, size): (&AssetId, u64),
    Job { job, provider, range, end }: Job,
    tell: &mpsc::Sender<Event>,
) -> Result<(), Fault> {
    let (stream, _place) = shared.open_range(provider).await?;
    let want = BlobWant::Range { start: range.start, end: range.end };
    let mut content = ask::content(stream, id, size, want, shared.config.stall_after).await?;
    while let Some((offset, bytes)) = content.next().await? {
        if offset >= end.load(Ordering::Relaxed) {
            break;
        }
        shared.metrics.bytes_in.inc_by(bytes.len() as u64);
        let nodes = content.take_nodes();
        if tell.send(Event::Group { job, offset, bytes, nodes }).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// How a job can be told to bring less, or nothing.
#[derive(Debug)]
struct UnderWay {
    task: AbortHandle,
    end: Arc<AtomicU64>,
}

struct Transfer {
    /// What others see of it.
    page: Page,
    shared: Arc<Shared>,
    order: Order,
    state: State,
    tell: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    jobs: HashMap<JobId, UnderWay>,
    keeping: Keeping,
    /// How many of the search's providers the state knows.
    providers_seen: usize,
    /// The search may still tell something.
    is_search_open: bool,
    /// What happened last to a provider.
    trouble: String,
}

impl Transfer {
    /// `None` if nobody wants it any more.
    async fn bring(&mut self, mut events: mpsc::Receiver<Event>) -> Option<Result<(), String>> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(EVENTS);
        self.look_at_search();
        loop {
            if self.state.is_done() {
                return Some(Ok(()));
            }
            let goes_on = tokio::select! {
                _ = events.recv_many(&mut batch, EVENTS) => {
                    while batch.len() < 2 * EVENTS && let Ok(event) = events.try_recv() {
                        batch.push(event);
                    }
                    self.events(&mut batch).await
                }
                changed = self.order.search.changed(), if self.is_search_open => {
                    self.is_search_open = changed.is_ok();
                    self.look_at_search()
                }
                () = self.order.shelf.changed() => {
                    if self.order.shelf.is_idle() && self.order.shelf.close_if_idle() {
                        return None;
                    }
                    self.happened(Input::Taken(self.order.shelf.taken()))
                }
                Some(_) = self.tasks.join_next() => true,
                _ = ticks.tick() => {
                    self.order.shelf.relieve(Instant::now());
                    self.show();
                    self.happened(Input::Taken(self.order.shelf.taken()))
                }
            };
            if !goes_on {
                return Some(Err(self.trouble.clone()));
            }
        }
    }

    fn show(&mut self) {
        let now = Instant::now();
        self.page.update(now, self.order.shelf.came(), self.state.standings(now));
    }

    /// False when there is nobody left to ask.
    fn happened(&mut self, input: Input<'_>) -> bool {
        for output in self.state.handle(Instant::now(), input) {
            match output {
                Output::Start { job, provider, range } => self.start(job, provider, range),
                Output::Stop(job) => {
                    if let Some(under_way) = self.jobs.remove(&job) {
                        under_way.task.abort();
                    }
                }
                Output::Cut { job, end } => {
                    if let Some(under_way) = self.jobs.get(&job) {
                        under_way.end.store(end, Ordering::Relaxed);
                    }
                }
                Output::Search => self.search(),
                Output::GiveUp => return false,
            }
        }
        true
    }

    fn start(&mut self, job: JobId, provider: NodeKey, range: Range<u64>) {
        tracing::debug!(asset_id = %self.order.id, assets_db_id = %provider.assets_db_id(), ?range, "asking for a range");
        let (shared, tell) = (Arc::clone(&self.shared), self.tell.clone());
        let (id, size) = (self.order.id, self.order.size);
        let end = Arc::new(AtomicU64::new(range.end));
        let ordered = Job { job, provider, range, end: Arc::clone(&end) };
        let task = self.tasks.spawn(async move {
            let bringing = bring_range(&shared, (&id, size), ordered, &tell);
            let ended = AssertUnwindSafe(bringing).catch_unwind().await;
            let ended = ended.unwrap_or_else(|_| Err(Fault::Lost("its job broke off".to_owned())));
            // The transfer may have ended.
            tell.send(Event::Ended { job, fault: ended.err() }).await.ok();
        });
        self.jobs.insert(job, UnderWay { task, end });
    }

    /// All groups first: what other jobs of a provider brought before it was found out is as good as any.
    async fn events(&mut self, batch: &mut Vec<Event>) -> bool {
        let (mut ended, mut groups, mut reached) = (Vec::new(), Vec::new(), BTreeMap::new());
        for event in batch.drain(..) {
            match event {
                Event::Group { job, offset, bytes, nodes } if self.state.wants(job, offset) => {
                    if let Some(provider) = self.state.provider_of(job) {
                        self.order.shelf.note_provider(provider);
                    }
                    reached.insert(job, offset + bytes.len() as u64);
                    self.keeping.add(job, (offset, &bytes), nodes).await;
                    groups.push((offset, bytes));
                }
                Event::Group { .. } => {}
                Event::Ended { job, fault } => ended.push((job, fault)),
            }
        }
        let reached: Vec<(JobId, u64)> = reached.into_iter().collect();
        let mut goes_on = self.happened(Input::Got(&reached));
        if self.state.is_done() {
            self.keeping.settle().await;
        }
        self.order.shelf.put(groups);
        for (job, fault) in ended {
            goes_on = goes_on && self.ended(job, fault).await;
        }
        let jobs = &self.jobs;
        self.keeping.flush_ended(|job| jobs.contains_key(&job)).await;
        goes_on
    }

    async fn ended(&mut self, job: JobId, fault: Option<Fault>) -> bool {
        self.jobs.remove(&job);
        let trouble = self.state.provider_of(job).zip(fault);
        let kind = trouble.as_ref().map(|(provider, fault)| self.trouble(*provider, fault));
        let goes_on = self.happened(Input::Ended { job, trouble: kind });
        // Before others bring the rest: who waited for it asks then who was given up.
        self.show();
        if let Some((provider, fault @ Fault::False(_))) = trouble {
            self.shared.blame(provider, &self.order.id, &fault.to_string()).await;
        }
        goes_on
    }

    /// Tells what a provider did, and what that means.
    fn trouble(&mut self, provider: NodeKey, fault: &Fault) -> Trouble {
        let (id, named) = (self.order.id, provider.assets_db_id());
        self.page.trouble(provider, fault);
        self.trouble = format!("the last provider, {named}, was given up: {fault}");
        match fault {
            Fault::Busy => {
                tracing::debug!(asset_id = %id, assets_db_id = %named, "a provider is busy");
                return Trouble::Busy;
            }
            Fault::Absent | Fault::Refused | Fault::Lost(_) => {
                tracing::info!(asset_id = %id, assets_db_id = %named, "a provider is given up: {fault}");
                return Trouble::Lost;
            }
            Fault::Stalled(_) => {
                self.shared.metrics.stalls.inc();
                tracing::warn!(asset_id = %id, assets_db_id = %named, "a provider is given up: {fault}");
            }
            // It is reported once others have taken over.
            Fault::False(_) => {}
        }
        Trouble::Unfit
    }

    fn search(&mut self) {
        let (tell, search) = watch::channel(Search::default());
        self.order.search = search;
        self.providers_seen = 0;
        self.is_search_open = true;
        self.tasks.spawn(search::run(Arc::clone(&self.shared), self.order.id, tell));
    }

    fn look_at_search(&mut self) -> bool {
        let (new, is_over) = {
            let search = self.order.search.borrow_and_update();
            (search.providers[self.providers_seen..].to_vec(), search.is_over)
        };
        self.providers_seen += new.len();
        let found = new.into_iter().all(|provider| self.happened(Input::Found(provider)));
        // A search that broke off is over, too.
        let is_over = is_over || !self.is_search_open;
        found && (!is_over || self.happened(Input::Searched))
    }
}
