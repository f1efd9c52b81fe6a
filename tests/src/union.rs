//! Is the answer of any node that of one node with all assets? Every question is asked on a random node, page by page,
//! and compared with the filter run over the union.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Cluster;
use crate::http::request::encode_segment;
use crate::oracle::{Assets, Oracle, Page, Question, Refusal, generated, question, recorded, refused};
use crate::random::Random;
use crate::report::Report;

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
/// Every so many questions one is read to its end, however many pages that takes.
const WHOLE_EVERY: usize = 20;
/// Pages to the end: of many rows, each page takes more.
const PAGES_TO_END: usize = 200;
/// One page can be the whole answer, or the answer cut where it hurts.
const LIMITS: [usize; 6] = [1, 2, 7, 64, 333, ROWS_MAX];
const ROWS_MAX: usize = 1000;

/// What to ask of how much.
#[derive(Debug, Clone)]
pub struct UnionPlan {
    /// Repeats the choices.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many assets all nodes hold together.
    pub assets: usize,
    /// Made up questions, beside the recorded ones.
    pub questions: usize,
    /// One of so many recorded questions is asked.
    pub step: usize,
    /// Pages that are read of most answers.
    pub pages: usize,
    /// How many ask at once.
    pub clients: u64,
    /// The oracle believes in an asset that is nowhere: the run must find violations.
    pub control: bool,
}

#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    pages: u64,
    rows: u64,
    /// Pages with rows of several nodes: without them nothing was merged.
    merged: u64,
    refused: u64,
    /// Questions that fail on some document: nodes may or may not get as far as that.
    passed_over: u64,
    /// Time in which clients waited for pages.
    waited: Duration,
    slowest: Duration,
}

/// Fills a cluster and asks it everything.
///
/// # Errors
/// If the cluster cannot be started or filled.
pub fn run_union(plan: &UnionPlan) -> Result<Report> {
    let cluster = Cluster::start(plan.nodes)?;
    cluster.wait_alive(ALIVE_WITHIN)?;
    let began = Instant::now();
    let assets = Assets::new();
    let oracle =
        Oracle::fill(&cluster, 4 * plan.clients, plan.assets, plan.seed, |number| assets.asset(number))?;
    let mut random = Random::seeded(plan.seed);
    let oracle = if plan.control { oracle.with_ghost(&mut random)? } else { oracle };
    let mut questions: Vec<Question> = recorded().into_iter().step_by(plan.step).collect();
    questions.extend(refused().into_iter().step_by(plan.step));
    questions.extend((0..plan.questions).map(|_| generated(&mut random, plan.assets)));
    let filled = began.elapsed();
    let run = Run { plan, cluster: &cluster, oracle: &oracle, questions: &questions };
    let (tally, violations) = run.ask_all();
    let mut report = Report::of("union", plan.seed);
    report.cycles = tally.asked;
    report.faults = tally.merged;
    report.violations = violations;
    report.fact("assets", oracle.len());
    report.fact("pages", tally.pages);
    report.fact("rows", tally.rows);
    report.fact("refused", tally.refused);
    report.fact("passed over", tally.passed_over);
    report.fact("filled in", format!("{filled:.0?}"));
    report.fact("asked in", format!("{:.0?}", began.elapsed().saturating_sub(filled)));
    report.fact("mean page", format!("{:.1?}", tally.waited.div_f64(tally.pages.max(1) as f64)));
    report.fact("slowest page", format!("{:.1?}", tally.slowest));
    Ok(report)
}

struct Run<'r> {
    plan: &'r UnionPlan,
    cluster: &'r Cluster,
    oracle: &'r Oracle,
    questions: &'r [Question],
}

impl Run<'_> {
    fn ask_all(&self) -> (Tally, Vec<String>) {
        let next = AtomicUsize::new(0);
        let outcome = Mutex::new((Tally::default(), Vec::new()));
        thread::scope(|scope| {
            for _ in 0..self.plan.clients {
                scope.spawn(|| self.ask_some(&next, &outcome));
            }
        });
        outcome.into_inner().expect("no client panics")
    }

    fn ask_some(&self, next: &AtomicUsize, outcome: &Mutex<(Tally, Vec<String>)>) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(question) = self.questions.get(number) else { return };
            let mut tally = Tally { asked: 1, ..Tally::default() };
            let judged = self.ask(number, question, &mut tally);
            let mut outcome = outcome.lock().expect("no client panics");
            outcome.0.add(&tally);
            if let Err(error) = judged {
                outcome.1.push(format!("question {number}, {question:?}: {error:#}"));
            }
        }
    }

    fn ask(&self, number: usize, asked: &Question, tally: &mut Tally) -> Result<()> {
        // Each question has choices of its own, whoever asks it.
        let mut random = Random::seeded(self.plan.seed.wrapping_add(number as u64));
        let expect = match self.oracle.answer(asked) {
            Ok(expect) => expect,
            Err(Refusal::Fails(_)) => {
                tally.passed_over += 1;
                return Ok(());
            }
            Err(Refusal::Bad(_)) => {
                tally.refused += 1;
                return self.must_refuse(random.below(self.cluster.len()), asked);
            }
        };
        let limit = *random.pick(&LIMITS);
        let (limit, pages) = if number.is_multiple_of(WHOLE_EVERY) {
            (limit.max(expect.len() / PAGES_TO_END).min(ROWS_MAX), usize::MAX)
        } else {
            (limit, self.plan.pages)
        };
        let (mut rest, mut cursor) = (expect.as_slice(), None::<String>);
        for _ in 0..pages {
            // Any node goes on where another one ended.
            let began = Instant::now();
            let page = self.page(random.below(self.cluster.len()), asked, limit, cursor.as_deref())?;
            tally.waited(began.elapsed());
            let found = self.oracle.rows_of(&page)?;
            tally.note(self.oracle, &found);
            rest = judge_page(rest, limit, &found, page.next_cursor.is_some())?;
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn page(&self, at: usize, asked: &Question, limit: usize, cursor: Option<&str>) -> Result<Page> {
        let mut parameters = format!("timeout_ms=10000&limit={limit}");
        for (name, value) in [("sort", asked.sort.as_deref()), ("cursor", cursor)] {
            if let Some(value) = value {
                parameters.push_str(&format!("&{name}={}", encode_segment(value)));
            }
        }
        let response = self.cluster.api(at).call(&question(&parameters, &asked.filter))?;
        ensure!(response.status == 200, "node {at}: {} {}", response.status, response.text());
        let page = Page::of(&response)?;
        ensure!(page.federation.complete, "node {at} is not complete: {:?}", page.federation);
        Ok(page)
    }

    fn must_refuse(&self, at: usize, asked: &Question) -> Result<()> {
        let response = self.cluster.api(at).call(&question("", &asked.filter))?;
        ensure!(response.status == 400, "node {at}: {} and not 400", response.status);
        let code = response.json()?["code"].as_str().map(str::to_owned);
        code.context("a refusal has a code").map(drop)
    }
}

/// Compares a page with what is left of the answer, and gives what is left behind it.
fn judge_page<'e>(rest: &'e [usize], limit: usize, found: &[usize], more: bool) -> Result<&'e [usize]> {
    ensure!(found.len() <= limit, "{} rows in a page of {limit}", found.len());
    if rest.get(..found.len()) != Some(found) {
        let at = found.iter().zip(rest).take_while(|(found, expected)| found == expected).count();
        bail!("row {at} of a page is {:?} and not {:?}", found.get(at), rest.get(at));
    }
    let left = &rest[found.len()..];
    ensure!(more || left.is_empty(), "it ends {} rows early", left.len());
    ensure!(!more || !found.is_empty(), "an empty page that says there is more");
    Ok(left)
}

impl Tally {
    fn note(&mut self, oracle: &Oracle, found: &[usize]) {
        self.pages += 1;
        self.rows += found.len() as u64;
        let mut owners = found.iter().map(|at| &oracle.row(*at).owner);
        let first = owners.next();
        self.merged += u64::from(owners.any(|owner| Some(owner) != first));
    }

    fn waited(&mut self, time: Duration) {
        self.waited += time;
        self.slowest = self.slowest.max(time);
    }

    fn add(&mut self, other: &Self) {
        let Self { asked, pages, rows, merged, refused, passed_over, waited, slowest } = other;
        self.asked += asked;
        self.pages += pages;
        self.rows += rows;
        self.merged += merged;
        self.refused += refused;
        self.passed_over += passed_over;
        self.waited += *waited;
        self.slowest = self.slowest.max(*slowest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_must_be_the_next_rows_and_say_whether_there_are_more() {
        let rest = [4, 2, 9];
        assert_eq!(judge_page(&rest, 2, &[4, 2], true).unwrap(), [9]);
        assert_eq!(judge_page(&rest, 3, &[4, 2, 9], false).unwrap(), [0; 0]);
        for (found, more) in [
            (&[4, 9][..], true),
            (&[2, 4], true),
            (&[4, 4], true),
            (&[4, 2], false),
            (&[4, 2, 9, 9], false),
            (&[], true),
        ] {
            assert!(judge_page(&rest, 4, found, more).is_err(), "{found:?} {more}");
        }
        assert!(judge_page(&rest, 1, &[4, 2], true).is_err(), "more than was asked for");
    }
}
