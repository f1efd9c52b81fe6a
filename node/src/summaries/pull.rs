//! Pulls one summary, part by part, and tells one peer that this node's has changed. What a peer sends is bounded before
//! it is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::summary::{Assembly, SummaryAnswer, SummaryAsk, Unacceptable, Want};

use super::Shared;
use super::held::{Pull, Pulled};
use crate::swarm::{Error, Offence};

/// How long a summary of many parts may take.
const PULL_WITHIN: Duration = Duration::from_secs(10);
/// How long a peer may take to note a change, before it is told again.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// The first pause before a peer is told again; it doubles.
const TOLD_AGAIN: Duration = Duration::from_millis(50);
/// The longest pause.
const TOLD_AGAIN_MAX: Duration = Duration::from_secs(1);

/// Why no summary came.
enum Fault {
    Network(Error),
    /// It was made anew meanwhile.
    Gone,
    /// The peer offers none, or none that this build can read.
    None,
    Lie(String),
}

/// Pulls a summary.
pub(super) async fn pull(shared: Arc<Shared>, pull: Pull) -> (Pull, Pulled) {
    let pulled = tokio::time::timeout(PULL_WITHIN, parts(&shared, &pull)).await;
    let timeout = Fault::Network(Error::Timeout(PULL_WITHIN));
    let fault = match pulled.unwrap_or(Err(timeout)) {
        Ok(pulled) => {
            shared.metrics.pulled(if matches!(pulled, Pulled::Same) { "same" } else { "new" });
            return (pull, pulled);
        }
        Err(fault) => fault,
    };
    let (outcome, pulled) = match fault {
        Fault::Network(error) => {
            tracing::debug!(peer = %pull.peer, %error, "no summary came");
            ("failed", Pulled::Failed)
        }
        Fault::Gone => ("gone", Pulled::Failed),
        Fault::None => ("none", Pulled::None),
        Fault::Lie(why) => {
            tracing::warn!(peer = %pull.peer, %why, "a peer's summary is not acceptable");
            shared.peers.penalise(pull.peer, Offence::Malformed).await;
            ("malformed", Pulled::None)
        }
    };
    shared.metrics.pulled(outcome);
    (pull, pulled)
}

async fn parts(shared: &Shared, pull: &Pull) -> Result<Pulled, Fault> {
    let ask = |ask: SummaryAsk| async move {
        let body = ask.encode().map_err(|_| Fault::None)?;
        let answer = shared.peers.request(pull.peer, body, shared.config.answer_within).await;
        let answer = answer.map_err(Fault::Network)?;
        shared.metrics.bytes_in.inc_by(answer.len() as u64);
        SummaryAnswer::decode(&answer).map_err(|error| Fault::Lie(error.to_string()))
    };
    let (version, mut assembly) = match ask(SummaryAsk::Pull { known: pull.known }).await? {
        SummaryAnswer::Same if pull.known.is_some() => return Ok(Pulled::Same),
        SummaryAnswer::First { version, shape, bits } => (version, Assembly::begin(&shape, &bits)?),
        SummaryAnswer::None => return Err(Fault::None),
        _ => return Err(Fault::off_topic()),
    };
    while let Some(part) = assembly.next() {
        let want = Want { life: version.life, build: version.build, part };
        match ask(SummaryAsk::Part(want)).await? {
            SummaryAnswer::Part(bits) => assembly.push(&bits)?,
            SummaryAnswer::Gone => return Err(Fault::Gone),
            _ => return Err(Fault::off_topic()),
        }
    }
    let summary = assembly.finish().ok_or_else(Fault::off_topic)?;
    Ok(Pulled::New(version, summary))
}

impl Fault {
    fn off_topic() -> Self {
        Self::Lie("it answers another question".to_owned())
    }
}

impl From<Unacceptable> for Fault {
    fn from(why: Unacceptable) -> Self {
        match why {
            Unacceptable::Form => Self::None,
            why => Self::Lie(why.to_string()),
        }
    }
}

/// Tells a peer that the summary it has does not know everything, until it answers or does not go by it any more.
pub(super) async fn tell(shared: Arc<Shared>, peer: NodeKey, until: Instant) -> NodeKey {
    let Ok(body) = SummaryAsk::Changed.encode() else { return peer };
    let mut pause = TOLD_AGAIN;
    while Instant::now() < until {
        let answered = {
            // Waits for its turn: questions of clients need the network too.
            let _turn = shared.telling.acquire().await;
            shared.peers.request(peer, body.clone(), TOLD_WITHIN).await
        };
        match answered {
            Ok(_) => {
                shared.metrics.told.inc();
                break;
            }
            Err(Error::Stopped) => break,
            Err(error) => tracing::debug!(%peer, %error, "a peer was not told of a change, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(TOLD_AGAIN_MAX);
    }
    peer
}
