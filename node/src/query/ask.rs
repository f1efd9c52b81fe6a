//! Asks a filter of all members that are up, and of this node, and makes one page of it by the deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use assetmesh_protocol::query::{After, End, FindAsk, QueryAnswer, QueryAsk, QueryRefusal, Shortfall};
use assetmesh_protocol::summary::Probe;
use futures_util::{FutureExt, StreamExt, stream};

use super::check::{self, Expected, Lie, Placed, Unfit};
use super::merge::Merge;
use super::pace::pauses;
use super::patience::Verdict;
use super::peers::Known;
use super::report::Outcome;
use super::spare::Parted;
use super::{DEADLINE_MAX, Error, Page, Queries, Report, Shared, question_id};
use crate::blocking::by_length;
use crate::catalog::{Position, Query, Select};
use crate::swarm::{Service, while_busy};

/// Rows that are asked for at least: fewer save less than another round costs.
const FIRST_ROWS_MIN: usize = 64;

/// What an answer may take to travel and be checked: a tenth of the time there is, within bounds.
const MARGIN_MIN: Duration = Duration::from_millis(2);
const MARGIN_MAX: Duration = Duration::from_millis(200);

/// One question on its way through the federation.
#[derive(Debug)]
struct Asking {
    id: [u8; 16],
    filter: Arc<Filter>,
    filter_text: String,
    sort: Option<Arc<Sort>>,
    sort_text: String,
    deadline: Instant,
}

/// Where a question stands: source 0 is this node, the others are the peers that are up, in their order.
#[derive(Debug)]
struct Board {
    up: Vec<Known>,
    merge: Merge,
    outcomes: Vec<Outcome>,
}

/// What one node gave, and whether it has more.
type Given = (Vec<Placed>, bool, Outcome);

impl Queries {
    /// The assets of all members that match, page by page, within [`DEADLINE_MAX`]. The page is whole if its report is
    /// complete.
    ///
    /// # Errors
    /// What this node's own part fails with: a bad cursor, a filter or sort that fails on an asset, `Busy`, the store.
    pub async fn find(&self, query: Query) -> Result<Page, Error> {
        self.shared.find(query).await
    }
}

impl Shared {
    async fn find(&self, query: Query) -> Result<Page, Error> {
        let started = Instant::now();
        let Query { filter, filter_text, sort, sort_text, limit, cursor, deadline } = query;
        let after = match cursor {
            Some(text) => Some(self.catalog.position(&filter_text, &sort_text, &text)?),
            None => None,
        };
        let asking = Asking {
            id: question_id(),
            filter: Arc::new(filter),
            filter_text,
            sort: sort.map(Arc::new),
            sort_text,
            deadline: started + deadline.min(DEADLINE_MAX),
        };
        let probe = Probe::of(&asking.filter.need());
        let parted = self.parted(self.peers.others(), &probe);
        let Parted { up, may, rest } = self.chosen(parted, &asking.filter_text);
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let sources = up.len() + 1;
        let mut board = Board {
            up,
            merge: Merge::new(limit, PAGE_BYTES_MAX, sources, after.as_ref()),
            outcomes: vec![Outcome::Full; sources],
        };
        let mut first = asking.sort.is_none().then(|| first_share(limit, sources));
        loop {
            let wanted = board.merge.advance();
            if wanted.is_empty() {
                break;
            }
            let most = first.take().unwrap_or_else(|| board.merge.room());
            self.round(&asking, &wanted, most, &mut board).await?;
        }
        let Board { up, merge, outcomes } = board;
        let gave_nothing = |at: usize| outcomes[at + 1] == Outcome::Full && merge.last_of(at + 1).is_none();
        let in_vain = may.iter().enumerate().filter(|(at, may)| **may && gave_nothing(*at)).count();
        self.summaries.were_wrong(in_vain as u64);
        let (rows, last) = merge.finish();
        let next_cursor = last.map(|last| self.catalog.cursor(&asking.filter_text, &asking.sort_text, &last));
        let mut report = Report::begin(&self.own, &outcomes[0]);
        let asked = up.iter().zip(&outcomes[1..]);
        for (peer, outcome) in asked {
            self.metrics.asked(outcome.name());
            report.add(peer, outcome);
        }
        for (peer, outcome) in &rest {
            report.add(peer, outcome);
        }
        Ok(Page { rows, next_cursor: next_cursor.transpose()?, report: report.after(started.elapsed()) })
    }

    /// Has some sources give more, 0 is this node, the others are peers by their place: peers up to `most` rows. This
    /// node's own cost no message, and are there even if a peer takes all the time.
    async fn round(
        &self,
        asking: &Asking,
        wanted: &[usize],
        most: usize,
        board: &mut Board,
    ) -> Result<(), Error> {
        let Board { up, merge, outcomes } = board;
        let (room, own_after) = (merge.room(), merge.last_of(0).cloned());
        let own = async {
            match wanted.contains(&0) {
                true => self.own_rows(asking, room, own_after).await.map(Some),
                false => Ok(None),
            }
        };
        let peers = wanted.iter().copied().filter(|at| *at > 0);
        let asked = peers.map(|at| {
            let asked = self.rows_of(asking, &up[at - 1], most, merge.last_of(at).cloned());
            asked.map(move |given| (at, given)).boxed()
        });
        let asked: Vec<_> = asked.collect();
        let asked = stream::iter(asked).buffer_unordered(self.config.asked_at_once).collect::<Vec<_>>();
        let asked = async { Ok(asked.await) };
        // Without this node's own part there is no page, so nobody is waited for when it fails.
        let (own, given) = tokio::try_join!(own, asked)?;
        for (at, (rows, more, outcome)) in own.map(|own| (0, own)).into_iter().chain(given) {
            merge.give(at, rows, more);
            // What was lacking in an earlier answer is still lacking.
            if outcome != Outcome::Full {
                outcomes[at] = outcome;
            }
        }
        Ok(())
    }

    async fn own_rows(&self, asking: &Asking, limit: usize, after: Option<Position>) -> Result<Given, Error> {
        let select = Select {
            filter: Arc::clone(&asking.filter),
            sort: asking.sort.clone(),
            limit,
            bytes_max: PAGE_BYTES_MAX,
            after,
            deadline: asking.left(),
        };
        let selected = self.catalog.select(select).await?;
        let placed = selected.rows.into_iter().map(|(key, asset)| {
            let place = self.catalog.place(key, &asset);
            Placed { place, asset }
        });
        Ok((placed.collect(), selected.more, selected.gap.map_or(Outcome::Full, Outcome::from)))
    }

    /// What a peer has behind a place. A peer that cannot give it has no more.
    async fn rows_of(&self, asking: &Asking, peer: &Known, limit: usize, after: Option<Position>) -> Given {
        let nothing = |outcome| (Vec::new(), false, outcome);
        if asking.left().is_zero() {
            return nothing(Outcome::TimedOut);
        }
        let ask = || async {
            let begun = Instant::now();
            match self.ask_rows(asking, peer, limit, after.as_ref()).await {
                Ok(given) => {
                    self.yields().gave(peer.key, given.0.len(), begun.elapsed());
                    Some(given)
                }
                Err(Outcome::Busy | Outcome::NotSent) => None,
                Err(outcome) => {
                    self.yields().failed(peer.key);
                    Some(nothing(outcome))
                }
            }
        };
        let length = asking.filter_text.len() + asking.sort_text.len();
        while_busy(pauses(asking.deadline, length), ask).await.unwrap_or_else(|| nothing(Outcome::Busy))
    }

    async fn ask_rows(
        &self,
        asking: &Asking,
        peer: &Known,
        limit: usize,
        after: Option<&Position>,
    ) -> Result<Given, Outcome> {
        let left = asking.left();
        let body = asking.body(limit, after).ok_or(Outcome::Failed("the question is too long to send"))?;
        let (answer, attempt) = self.ask(peer, Service::Query, body, left).await?;
        match asking.checked(peer, limit, after.cloned(), answer).await {
            Ok(given) => {
                attempt.end(Verdict::Good);
                Ok(given)
            }
            Err(Fault::Refused(outcome)) => {
                attempt.end(Verdict::None);
                Err(outcome)
            }
            Err(Fault::Lie(lie)) => {
                attempt.end(Verdict::Bad);
                Err(self.blame(peer, lie).await)
            }
        }
    }
}

/// Rows that each peer among so many sources is asked for first, when all are filled in the order of time and so have each a part
/// of a page: twice the mean. One that has more of it is asked again.
fn first_share(limit: usize, sources: usize) -> usize {
    (2 * limit).div_ceil(sources).max(FIRST_ROWS_MIN).min(limit)
}

/// Why an answer gives no rows.
enum Fault {
    Refused(Outcome),
    Lie(Lie),
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Lie(lie) => Self::Lie(lie),
            Unfit::KeysTooLong => Self::Refused(Outcome::Failed("the sort keys of its rows are too long")),
        }
    }
}

impl Asking {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The question to a peer. It gets a little less time than there is, so that its answer still counts.
    fn body(&self, limit: usize, after: Option<&Position>) -> Option<Vec<u8>> {
        let left = self.left();
        let granted = left.saturating_sub((left / 10).clamp(MARGIN_MIN, MARGIN_MAX));
        let ask = FindAsk {
            id: self.id,
            filter: self.filter_text.clone(),
            sort: self.sort_text.clone(),
            limit: u32::try_from(limit).ok()?,
            after: after.map(|after| After::new(&after.key, after.record, after.owner)),
            deadline_ms: u32::try_from(granted.as_millis()).ok()?,
        };
        QueryAsk::Find(ask).encode().ok()
    }

    async fn checked(
        &self,
        peer: &Known,
        limit: usize,
        after: Option<Position>,
        answer: Vec<u8>,
    ) -> Result<Given, Fault> {
        let (filter, sort, owner) = (Arc::clone(&self.filter), self.sort.clone(), peer.id);
        let length = answer.len();
        let check = move || {
            let expected =
                Expected { owner, filter: &filter, sort: sort.as_deref(), limit, after: after.as_ref() };
            given(&expected, &answer)
        };
        let checked = by_length(length, check).await;
        checked.unwrap_or(Err(Fault::Refused(Outcome::Failed("this node is stopping"))))
    }
}

fn given(expected: &Expected<'_>, answer: &[u8]) -> Result<Given, Fault> {
    let refused = |why| Err(Fault::Refused(why));
    match QueryAnswer::decode(answer) {
        Ok(QueryAnswer::Rows { rows, end }) => {
            let placed = check::rows(expected, rows, end)?;
            let (more, outcome) = match end {
                End::Whole => (false, Outcome::Full),
                End::More => (true, Outcome::Full),
                End::Partial(why @ Shortfall::Deadline) => (false, Outcome::Partial(why)),
                // Healthy rows may follow those that it gave.
                End::Partial(why @ Shortfall::Damaged) => (!placed.is_empty(), Outcome::Partial(why)),
            };
            Ok((placed, more, outcome))
        }
        Ok(QueryAnswer::Refused(QueryRefusal::Busy)) => refused(Outcome::Busy),
        Ok(QueryAnswer::Refused(QueryRefusal::BadQuestion(_))) => {
            refused(Outcome::Failed("refused the filter"))
        }
        Ok(QueryAnswer::Refused(QueryRefusal::Failed)) => refused(Outcome::Failed("failed")),
        Ok(QueryAnswer::Looked(_)) | Err(_) => Err(Fault::Lie(Lie::OffTopic)),
    }
}
