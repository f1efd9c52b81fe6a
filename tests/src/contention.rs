//! Many writers and readers on one uri, and the history of what each of them saw.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::api::{Api, description_of};
use crate::http::response::Response;
use crate::linear::{Call, Effect};
use crate::random::Random;

const NAME: &str = "contended";
const URI: &str = "contended:1-t";

/// How hard one uri is used.
#[derive(Debug, Clone, Copy)]
pub struct Contention {
    /// How many at once; half of what they do is reading.
    pub clients: u64,
    /// Calls of each.
    pub calls_each: u64,
    /// Also delete it and create it again.
    pub removals: bool,
    /// Repeats the choices, though not the timing.
    pub seed: u64,
}

impl Contention {
    /// Makes the history on a node that does not know the uri yet. The register holds nothing at first.
    ///
    /// # Errors
    /// If a call has no answer, or one that REST.md does not allow for it.
    pub fn run(self, address: SocketAddr) -> Result<Vec<Call>> {
        let clock = Instant::now();
        let mut random = Random::seeded(self.seed);
        let mut first = Caller { api: Api::new(address), random: random.fork(), clock, value: 1 };
        let mut calls = vec![first.call(Kind::Create)?];
        let histories: Vec<Result<Vec<Call>>> = thread::scope(|scope| {
            let started: Vec<_> = (1..=self.clients)
                .map(|client| {
                    let random = random.fork();
                    let value = client * 1_000_000;
                    let caller = Caller { api: Api::new(address), random, clock, value };
                    scope.spawn(move || caller.make(self))
                })
                .collect();
            started.into_iter().map(|client| client.join().expect("a caller does not panic")).collect()
        });
        for history in histories {
            calls.extend(history?);
        }
        Ok(calls)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Find,
    Query,
    Create,
    Update,
    Delete,
}

struct Caller {
    api: Api,
    random: Random,
    clock: Instant,
    /// The next value this caller writes; nobody else writes it.
    value: u64,
}

impl Caller {
    fn make(mut self, plan: Contention) -> Result<Vec<Call>> {
        (0..plan.calls_each)
            .map(|_| {
                let kind = match self.random.within(0..100) {
                    0..35 => Kind::Find,
                    35..50 => Kind::Query,
                    50..65 if plan.removals => Kind::Create,
                    65..80 if plan.removals => Kind::Delete,
                    _ => Kind::Update,
                };
                self.call(kind)
            })
            .collect()
    }

    fn call(&mut self, kind: Kind) -> Result<Call> {
        self.value += 1;
        let value = self.value;
        let start = self.now();
        let response = match kind {
            Kind::Find => self.api.find(URI)?,
            Kind::Query => self.api.query(&json!({"asset_uri": URI}))?,
            Kind::Create => self.api.create(&description_of(NAME, &json!({"value": value})))?,
            Kind::Update => self.api.update(URI, &json!({"asset_metadata.value": value}))?,
            Kind::Delete => self.api.delete(URI)?,
        };
        let end = self.now();
        Ok(Call { start, end, effect: effect(kind, value, &response)? })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).expect("a run is shorter than 500 years")
    }
}

fn effect(kind: Kind, value: u64, response: &Response) -> Result<Effect> {
    let seen = |row: &Value| Effect::Read(row["asset_metadata"]["value"].as_u64());
    Ok(match (kind, response.status) {
        (Kind::Find, 200) => seen(&response.json()?["data"]),
        (Kind::Find, 404) => Effect::Read(None),
        (Kind::Query, 200) => seen(&response.json()?["data"][0]),
        (Kind::Create, 201) => Effect::Create(value),
        (Kind::Create, 409) => Effect::Refused { present: true },
        (Kind::Update, 200) => Effect::Update(value),
        (Kind::Delete, 200) => Effect::Delete,
        (Kind::Update | Kind::Delete, 404) => Effect::Refused { present: false },
        (_, status) => bail!("{kind:?} of one uri: {status} {}", response.text()),
    })
}
