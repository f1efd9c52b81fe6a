//! Does any answer hide a node that was not heard, or come late? Clients ask nodes at random while another node is
//! stopped, goes on, is killed and comes back; every answer is held against the union of all assets.

mod judge;
mod stage;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::api::Api;
use crate::cluster::Cluster;
use crate::http::request::encode_segment;
use crate::http::response::Response;
use crate::metronome::Metronome;
use crate::oracle::{Assets, Oracle, Page, Question, generated, question};
use crate::random::Random;
use crate::report::Report;
use judge::{Seen, judge};
use stage::{Stage, pass, strike};

const ALIVE_WITHIN: Duration = Duration::from_secs(60);
/// Different questions; each has its answer made once.
const QUESTIONS: usize = 60;

/// Who asks how much, and what is promised.
#[derive(Debug, Clone)]
pub struct VoicesPlan {
    /// Repeats the choices, though not the timing.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many assets all nodes hold together.
    pub assets: usize,
    /// How many questions are answered.
    pub questions: u64,
    /// How many ask at once.
    pub clients: u64,
    /// What a client waits between two questions on average, in milliseconds.
    pub pause_ms: u64,
    /// How long an answer may take beyond its deadline, as the client sees it. What the machine itself stood still
    /// meanwhile is added.
    pub grace: Duration,
    /// The oracle believes in an asset that is nowhere: the run must find violations.
    pub control: bool,
}

#[derive(Debug, Default)]
struct Tally {
    complete: u64,
    partial: u64,
    refused: u64,
    second_pages: u64,
    /// Asked of a node that was struck meanwhile: its client has nobody to answer.
    struck: u64,
    /// What each answer took beyond its deadline, and how late the machine was.
    beyond: Vec<(Duration, Duration)>,
    violations: Vec<String>,
}

/// Asks while nodes fall silent.
///
/// # Errors
/// If the cluster cannot be started, filled or brought back.
pub fn run_voices(plan: &VoicesPlan) -> Result<Report> {
    ensure!(plan.nodes >= 3, "one node is struck, and another is asked about a third");
    let mut cluster = Cluster::start(plan.nodes)?;
    cluster.wait_alive(ALIVE_WITHIN)?;
    let assets = Assets::new();
    let oracle = Oracle::fill(&cluster, plan.clients, plan.assets, plan.seed, |number| assets.asset(number))?;
    let mut random = Random::seeded(plan.seed);
    let oracle = if plan.control { oracle.with_ghost(&mut random)? } else { oracle };
    let mut questions = vec![(Question { filter: "{}".to_owned(), sort: None }, (0..oracle.len()).collect())];
    while questions.len() < QUESTIONS {
        let question = generated(&mut random, plan.assets);
        // One that fails on a document has no answer to compare with.
        questions.extend(oracle.answer(&question).ok().map(|expect| (question, expect)));
    }
    let stage = Stage::of(&cluster);
    let run = Run {
        plan,
        oracle: &oracle,
        questions: &questions,
        stage: &stage,
        metronome: Metronome::start(),
        asked: AtomicU64::new(0),
        is_given_up: AtomicBool::new(false),
        tally: Mutex::default(),
    };
    thread::scope(|scope| {
        for client in 0..plan.clients {
            let (random, run) = (random.fork(), &run);
            scope.spawn(move || run.ask_on(client, random));
        }
        let struck = strike(&mut cluster, &stage, &mut random, || run.is_over());
        // Without strikes the rest would prove nothing.
        if struck.is_err() {
            run.is_given_up.store(true, Ordering::Relaxed);
        }
        struck
    })?;
    Ok(report(plan, stage.strikes(), run.tally.into_inner().expect("no client panics")))
}

fn report(plan: &VoicesPlan, strikes: u64, mut tally: Tally) -> Report {
    let mut report = Report::of("voices", plan.seed);
    report.cycles = tally.beyond.len() as u64;
    report.faults = strikes;
    report.violations = tally.violations;
    if tally.complete == 0 || tally.partial + tally.refused == 0 {
        report.violations.push("not both whole and other answers were seen: nothing is shown".to_owned());
    }
    report.fact("complete", tally.complete);
    report.fact("partial", tally.partial);
    report.fact("refused at the deadline", tally.refused);
    report.fact("second pages", tally.second_pages);
    report.fact("asked of the struck node", tally.struck);
    let mut told = |name: [&'static str; 2], sorted: Vec<Duration>| {
        let at = |share: usize| sorted.get((sorted.len() * share / 1000).min(sorted.len().saturating_sub(1)));
        let millis = |share| at(share).copied().unwrap_or_default().as_millis();
        report.fact(name[0], format!("{} ms", millis(999)));
        report.fact(name[1], format!("{} ms", millis(1000)));
    };
    tally.beyond.sort_unstable();
    let answers = tally.beyond.iter().map(|(beyond, _)| *beyond).collect();
    told(["beyond the deadline p99.9", "at most"], answers);
    let mut machine: Vec<Duration> = tally.beyond.iter().map(|(_, machine)| *machine).collect();
    machine.sort_unstable();
    told(["the machine late meanwhile p99.9", "at most"], machine);
    report
}

struct Run<'r> {
    plan: &'r VoicesPlan,
    oracle: &'r Oracle,
    questions: &'r [(Question, Vec<usize>)],
    stage: &'r Stage,
    metronome: Metronome,
    asked: AtomicU64,
    is_given_up: AtomicBool,
    tally: Mutex<Tally>,
}

/// One question on its way.
struct Asking<'q> {
    question: &'q Question,
    /// What a complete answer holds from here on.
    expect: &'q [usize],
    limit: usize,
    deadline: Duration,
    allow_partial: bool,
    cursor: Option<String>,
}

impl Run<'_> {
    /// Enough was asked, while enough was struck.
    fn is_over(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        let is_enough =
            asked >= self.plan.questions && self.stage.strikes() >= (self.plan.questions / 100).max(3);
        is_enough || self.is_given_up.load(Ordering::Relaxed)
    }

    fn ask_on(&self, client: u64, mut random: Random) {
        while !self.is_over() {
            let (question, expect) = random.pick(self.questions);
            let mut asking = Asking {
                question,
                expect,
                limit: *random.pick(&[1, 5, 50, 400, 1000]),
                deadline: Duration::from_millis(random.within(200..2000)),
                allow_partial: random.chance(50),
                cursor: None,
            };
            // Pauses, so that the questions are spread over many strikes.
            pass(random.within(0..2 * self.plan.pause_ms + 1), || self.is_over());
            let Some((at, turn)) = self.stage.pick(&mut random) else { continue };
            let mut api = Api::new(turn.address);
            // A second page is asked of the same node.
            for _ in 0..2 {
                let mut late = None;
                let judged = self.ask(&mut api, &asking, &mut late);
                if !self.stage.is_still(at, &turn) {
                    self.tally().struck += 1;
                    break;
                }
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.tally().beyond.extend(late);
                match judged {
                    Ok(Some((rows, cursor))) => {
                        asking.expect = &asking.expect[rows..];
                        asking.cursor = Some(cursor);
                        self.tally().second_pages += 1;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let sentence = format!("client {client}, node {at}, {question:?}: {error:#}");
                        self.tally().violations.push(sentence);
                        break;
                    }
                }
            }
        }
    }

    /// Asks, and judges the answer. If it is whole and has more, says how many rows it had and where it goes on.
    /// How late it came, and the machine meanwhile, is left in `late`.
    fn ask(
        &self,
        api: &mut Api,
        asking: &Asking<'_>,
        late: &mut Option<(Duration, Duration)>,
    ) -> Result<Option<(usize, String)>> {
        let request = question(&asking.parameters(), &asking.question.filter);
        let sent = Instant::now();
        let response = api.call(&request)?;
        let ended = Instant::now();
        let beyond = (ended - sent).saturating_sub(asking.deadline);
        let machine = self.metronome.worst(sent, ended);
        *late = Some((beyond, machine));
        ensure!(
            beyond <= self.plan.grace + machine,
            "it came {beyond:?} after its deadline of {:?}, and the machine was late by {machine:?}",
            asking.deadline
        );
        self.judge(asking, &response)
    }

    fn judge(&self, asking: &Asking<'_>, response: &Response) -> Result<Option<(usize, String)>> {
        let page = Page::of(response)?;
        let missing: BTreeSet<String> =
            page.federation.missing.iter().map(|missing| missing.assets_db_id.clone()).collect();
        if response.status == 504 && !asking.allow_partial {
            self.tally().refused += 1;
            let names = !page.federation.complete && !missing.is_empty();
            ensure!(names, "refused, and nobody is named: {}", response.text());
            return Ok(None);
        }
        ensure!(response.status == 200, "{} {}", response.status, response.text());
        let complete = page.federation.complete;
        let found = self.oracle.rows_of(&page)?;
        let seen = Seen {
            expect: asking.expect,
            limit: asking.limit,
            found: &found,
            complete,
            missing: &missing,
            more: page.next_cursor.is_some(),
        };
        judge(&seen, |row| &self.oracle.row(row).owner).with_context(|| {
            let reasons: Vec<&str> =
                page.federation.missing.iter().map(|missing| missing.reason.as_str()).collect();
            format!("{} of {} rows, reasons {reasons:?}", found.len(), asking.limit)
        })?;
        let mut tally = self.tally();
        *if complete { &mut tally.complete } else { &mut tally.partial } += 1;
        Ok(page
            .next_cursor
            .filter(|_| complete && asking.cursor.is_none())
            .map(|cursor| (found.len(), cursor)))
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("no client panics")
    }
}

impl Asking<'_> {
    fn parameters(&self) -> String {
        let (limit, millis) = (self.limit, self.deadline.as_millis());
        let mut text = format!("limit={limit}&timeout_ms={millis}&allow_partial={}", self.allow_partial);
        for (name, value) in [("sort", &self.question.sort), ("cursor", &self.cursor)] {
            if let Some(value) = value {
                text.push_str(&format!("&{name}={}", encode_segment(value)));
            }
        }
        text
    }
}
