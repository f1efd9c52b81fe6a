//! Load for measurements: many clients on keep-alive connections, each timing its own calls.

pub(crate) mod documents;
pub(crate) mod federated;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::api::{Api, description_of};
use crate::content::Content;
use crate::http::Client;
use crate::http::request::{Method, Request};
use crate::random::Random;
use documents::document;

/// How many calls were made in which time, and how long they took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// From the first call to the last answer.
    pub took: Duration,
    /// Of each call, sorted.
    pub latencies: Vec<Duration>,
}

impl Measured {
    fn of(begun: Instant, mut latencies: Vec<Duration>) -> Self {
        let took = begun.elapsed();
        latencies.sort_unstable();
        Self { took, latencies }
    }

    /// Calls in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        u32::try_from(self.latencies.len()).map_or(f64::MAX, f64::from) / self.took.as_secs_f64()
    }

    /// The latency that `percent` of all calls did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (self.latencies.len() * percent / 100).min(last);
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        write!(f, "calls={} seconds={:.2} ", self.latencies.len(), self.took.as_secs_f64())?;
        write!(f, "rate={:.0} p50_ms={:.3} p99_ms={:.3}", self.rate(), millis(50), millis(99))
    }
}

/// Uploads of `bytes` each, all different, by `clients` at once for `lasting`. `run` makes them
/// differ from those of other runs.
///
/// # Errors
/// If any of them is not answered by 201.
pub fn upload_small(
    address: SocketAddr,
    clients: u64,
    bytes: usize,
    lasting: Duration,
    run: u64,
) -> Result<Measured> {
    let begun = Instant::now();
    let latencies = together(clients, |client| {
        let mut random = Random::seeded(run.wrapping_mul(1_000_003).wrapping_add(client));
        let mut api = Api::new(address);
        let mut latencies = Vec::new();
        while begun.elapsed() < lasting {
            let seed = random.number();
            let name = format!("small-{run}-{client}-{}", latencies.len());
            let request = (description_of(&name, &json!({})), Content { seed, size: bytes }.bytes());
            let sent = Instant::now();
            let answer = api.upload(&request.0, &request.1)?;
            latencies.push(sent.elapsed());
            ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
        }
        Ok(latencies)
    })?;
    Ok(Measured::of(begun, latencies))
}

/// How far a load of documents has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Documents that are stored.
    pub stored: u64,
    /// Documents a second since the last report.
    pub rate: f64,
}

/// Posts the documents `from..to` as external assets, and tells the rate of each `window` of them.
///
/// # Errors
/// If any of them is not answered by 201.
pub fn load_documents(
    address: SocketAddr,
    clients: u64,
    range: std::ops::Range<u64>,
    window: u64,
    mut tell: impl FnMut(Progress) + Send,
) -> Result<()> {
    let next = AtomicU64::new(range.start);
    while next.load(Ordering::Relaxed) < range.end {
        let end = (next.load(Ordering::Relaxed) + window).min(range.end);
        let begun = Instant::now();
        let first = next.load(Ordering::Relaxed);
        together(clients, |_| {
            let mut api = Api::new(address);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Ok(Vec::new());
                }
                let answer = api.create(&document(number))?;
                ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
            }
        })?;
        next.store(end, Ordering::Relaxed);
        let count = u32::try_from(end - first).context("a window of documents")?;
        tell(Progress { stored: end, rate: f64::from(count) / begun.elapsed().as_secs_f64() });
    }
    Ok(())
}

/// What `POST /assets` with a changing filter takes, from one client, one call after the other.
///
/// # Errors
/// If an answer is not a 200, or has other than `rows` rows if that is given.
pub fn time_queries(
    address: SocketAddr,
    rounds: u64,
    rows: Option<usize>,
    filter: impl Fn(u64) -> Value,
) -> Result<Measured> {
    let mut client = Client::new(address);
    let mut latencies = Vec::new();
    let begun = Instant::now();
    for round in 0..rounds {
        let request = Request::json(Method::Post, "/assets?timeout_ms=10000", &filter(round));
        let sent = Instant::now();
        let answer = client.call(&request)?;
        latencies.push(sent.elapsed());
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        if let Some(rows) = rows {
            let found = answer.json()?["data"].as_array().map_or(0, Vec::len);
            ensure!(found == rows, "{found} rows and not {rows} for {}", filter(round));
        }
    }
    Ok(Measured::of(begun, latencies))
}

/// Runs `work` in `clients` threads, and joins what they return.
fn together(clients: u64, work: impl Fn(u64) -> Result<Vec<Duration>> + Sync) -> Result<Vec<Duration>> {
    thread::scope(|scope| {
        let started: Vec<_> = (0..clients)
            .map(|client| {
                let work = &work;
                scope.spawn(move || work(client))
            })
            .collect();
        let mut all = Vec::new();
        for client in started {
            all.append(&mut client.join().expect("a client does not panic")?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_latencies() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let measured = Measured::of(Instant::now(), latencies);
        assert_eq!(measured.percentile(50), Duration::from_millis(101));
        assert_eq!(measured.percentile(99), Duration::from_millis(199));
        assert_eq!(measured.percentile(100), Duration::from_millis(200));
    }

    #[test]
    fn one_failed_client_fails_the_load() {
        let ran = together(4, |client| {
            ensure!(client != 2, "the third client fails");
            Ok(vec![Duration::ZERO])
        });
        assert!(ran.unwrap_err().to_string().contains("third"));
    }
}
