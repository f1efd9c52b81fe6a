//! Gathers what a transfer brings into parts, and hands them to the blob store. A part that the disk does not take in
//! time is left out: the next who asks fetches it again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::state::JobId;
use crate::blobs::tree::{GROUP_BYTES, Node};
use crate::blobs::{Keeper, Left, PART_BYTES};

/// How long the last bytes of a transfer wait until all can be read here. Then a client that asks again at once
/// finds it here.
const SETTLED_WITHIN: Duration = Duration::from_millis(500);

/// What one transfer keeps.
#[derive(Debug)]
pub(super) struct Keeping {
    keeper: Option<Keeper>,
    parts: HashMap<JobId, Part>,
    allowance: Allowance,
}

/// What one job brought in order and is not handed over yet.
#[derive(Debug, Default)]
struct Part {
    offset: u64,
    bytes: Vec<u8>,
    nodes: Vec<Node>,
}

impl Keeping {
    pub(super) fn new(keeper: Keeper, now: Instant) -> Self {
        Self { keeper: Some(keeper), parts: HashMap::new(), allowance: Allowance::new(now) }
    }

    /// Takes a proven group, with the nodes that came before it.
    pub(super) async fn add(&mut self, job: JobId, (offset, bytes): (u64, &[u8]), nodes: Vec<Node>) {
        if self.keeper.is_none() {
            return;
        }
        let part = self.parts.entry(job).or_default();
        let follows = part.bytes.is_empty() || part.offset + part.bytes.len() as u64 == offset;
        if !follows || part.bytes.len() + bytes.len() > PART_BYTES {
            self.flush(job).await;
        }
        let part = self.parts.entry(job).or_default();
        match part.bytes.len() {
            0 => part.offset = offset,
            // A second group: there may be many.
            GROUP_BYTES => part.bytes.reserve_exact(PART_BYTES - GROUP_BYTES),
            _ => {}
        }
        part.bytes.extend_from_slice(bytes);
        part.nodes.extend(nodes);
    }

    /// Hands over what one job has brought.
    async fn flush(&mut self, job: JobId) {
        let (Some(keeper), Some(part)) = (&self.keeper, self.parts.get_mut(&job)) else { return };
        let Ok(first_group) = u32::try_from(part.offset / GROUP_BYTES as u64) else { return };
        let (bytes, nodes) = (std::mem::take(&mut part.bytes), std::mem::take(&mut part.nodes));
        if bytes.is_empty() {
            part.nodes = nodes;
            return;
        }
        let begun = Instant::now();
        let put = keeper.put(first_group, bytes, nodes, self.allowance.left(begun)).await;
        self.allowance.spend(begun.elapsed());
        match put {
            Ok(()) => {}
            Err(Left::Late(nodes)) => part.nodes = nodes,
            Err(Left::Refused) => {
                self.keeper = None;
                self.parts.clear();
            }
        }
    }

    /// Hands over what jobs have left that do not go on.
    pub(super) async fn flush_ended(&mut self, goes_on: impl Fn(JobId) -> bool) {
        let ended: HashSet<JobId> = self.parts.keys().copied().filter(|job| !goes_on(*job)).collect();
        for job in ended {
            self.flush(job).await;
            self.parts.remove(&job);
        }
    }

    /// Hands over all, and waits a moment until it can be read.
    pub(super) async fn settle(&mut self) {
        self.flush_ended(|_| false).await;
        if let Some(keeper) = &self.keeper {
            keeper.settle(SETTLED_WITHIN).await;
        }
    }
}
