//! Invocations whose clients were sent away to ask again: each goes on in a task of its own, which hands its answer to the
//! one who asks first, or drops it when nobody does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::board::Board;
use super::reply::Reply;
use crate::error::ApiError;
use crate::invocation::fault::Fault;

/// Requests that may wait for one answer. A client that asks again before its last question has ended makes two.
const WAITING_MAX: usize = 8;
/// What is taken from a container for a client that has not come back. More stays with the container, whose answer then
/// keeps its place among the invocations.
const EARLY_BYTES: usize = 128 * 1024;

/// What comes of an invocation.
pub(crate) type Outcome = Result<Reply, ApiError>;
/// An invocation under way. Dropping it ends it.
pub(crate) type Job = BoxFuture<'static, Outcome>;

type Asking = oneshot::Sender<Outcome>;

/// What one who asks again is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The answer; nobody else gets it.
    Answer(Box<Outcome>),
    /// It is not there yet.
    NotYet,
    /// There is no such invocation of the account.
    Unknown,
    /// Others wait for it already.
    ManyWaiting,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Pending {
    table: Arc<Mutex<Table>>,
    tasks: Mutex<JoinSet<()>>,
    keep_for: Duration,
}

#[derive(Debug)]
struct Table {
    board: Board,
    doors: HashMap<Uuid, mpsc::Sender<Asking>>,
}

impl Table {
    fn remove(&mut self, id: Uuid) {
        self.board.remove(id);
        self.doors.remove(&id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pending {
    /// Keeps at most `kept_max` finished answers, each for `keep_for`.
    pub(crate) fn new(kept_max: usize, keep_for: Duration) -> Self {
        let table = Table { board: Board::new(kept_max), doors: HashMap::new() };
        Self { table: Arc::new(Mutex::new(table)), tasks: Mutex::default(), keep_for }
    }

    /// Lets an invocation go on without its client.
    pub(crate) fn keep(&self, id: Uuid, account: &str, job: Job) {
        let (door, asked) = mpsc::channel(WAITING_MAX);
        let mut table = lock(&self.table);
        table.board.add(id, account);
        table.doors.insert(id, door);
        drop(table);
        let seat = Seat { id, table: Arc::clone(&self.table) };
        let keeper = Keeper { seat, asked, waiting: VecDeque::new(), keep_for: self.keep_for };
        let mut tasks = lock(&self.tasks);
        tasks.spawn(keeper.run(job));
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "an invocation panicked");
            }
        }
    }

    /// Asks for an answer, and waits for it for a while.
    pub(crate) async fn ask(&self, id: Uuid, account: &str, within: Duration) -> Told {
        let door = {
            let table = lock(&self.table);
            table.doors.get(&id).filter(|_| table.board.has(id, account)).cloned()
        };
        let Some(door) = door else { return Told::Unknown };
        let (asking, mut answer) = oneshot::channel();
        match door.try_send(asking) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Told::ManyWaiting,
            Err(mpsc::error::TrySendError::Closed(_)) => return Told::Unknown,
        }
        drop(door);
        if let Ok(answered) = timeout(within, &mut answer).await {
            return answered.map_or_else(|_| self.unanswered(id), |outcome| Told::Answer(Box::new(outcome)));
        }
        // It may come in this very moment; then it is delivered, not lost.
        answer.close();
        answer.try_recv().map_or(Told::NotYet, |outcome| Told::Answer(Box::new(outcome)))
    }

    /// Ends all of them and waits until they have ended.
    pub(crate) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    fn unanswered(&self, id: Uuid) -> Told {
        if lock(&self.table).doors.contains_key(&id) { Told::ManyWaiting } else { Told::Unknown }
    }
}

/// A line of the table. It goes with its keeper, whatever ends it.
#[derive(Debug)]
struct Seat {
    id: Uuid,
    table: Arc<Mutex<Table>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.table).remove(self.id);
    }
}

impl Seat {
    /// The container is done; another answer may have to go for this one.
    fn finish(&self) {
        let mut table = lock(&self.table);
        if let Some(dropped) = table.board.finish(self.id) {
            tracing::info!(request = %dropped, "an answer had to go for a newer one");
            table.remove(dropped);
        }
    }
}

/// Runs one invocation to its end and keeps its answer.
struct Keeper {
    seat: Seat,
    asked: mpsc::Receiver<Asking>,
    waiting: VecDeque<Asking>,
    keep_for: Duration,
}

impl Keeper {
    async fn run(mut self, mut job: Job) {
        let outcome = loop {
            tokio::select! {
                outcome = &mut job => break outcome,
                asking = self.asked.recv() => match asking {
                    Some(asking) => self.line_up(asking),
                    None => return,
                },
            }
        };
        drop(job);
        self.hand_over(outcome).await;
    }

    /// Those who have given up make room.
    fn line_up(&mut self, asking: Asking) {
        self.waiting.retain(|waiting| !waiting.is_closed());
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(asking);
        }
    }

    /// Gives the answer to the first who takes it; until then, takes what has come of it.
    async fn hand_over(mut self, mut outcome: Outcome) {
        let end = Instant::now() + self.keep_for;
        let mut is_finished = false;
        loop {
            while let Some(asking) = self.waiting.pop_front() {
                match asking.send(outcome) {
                    // The line of the table goes before the mailbox: one who asked just now is told that it is gone.
                    Ok(()) => return,
                    Err(back) => outcome = back,
                }
            }
            if !is_finished && outcome.as_ref().map_or(true, |reply| reply.body.is_whole()) {
                is_finished = true;
                self.seat.finish();
            }
            tokio::select! {
                asking = self.asked.recv() => match asking {
                    Some(asking) => self.line_up(asking),
                    None => return,
                },
                taken = take_early(&mut outcome), if may_grow(&outcome) => {
                    if let Err(error) = taken {
                        outcome = Err(Fault::Broken(error.to_string()).into());
                    }
                }
                () = sleep_until(end) => {
                    tracing::info!(request = %self.seat.id, "nobody asked for an answer in time; it is gone");
                    return;
                }
            }
        }
    }
}

/// Whether more of an answer is to come, and may be taken early.
fn may_grow(outcome: &Outcome) -> bool {
    outcome.as_ref().is_ok_and(|reply| !reply.body.is_whole() && reply.body.early_bytes() < EARLY_BYTES)
}

/// Takes a piece of an answer. A container that breaks off now is told plainly to the client later.
async fn take_early(outcome: &mut Outcome) -> io::Result<()> {
    match outcome {
        Ok(reply) => reply.body.take_early().await,
        Err(_) => Ok(()),
    }
}
