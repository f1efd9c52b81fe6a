//! Finds the input assets that a call names, here first, then on trusted peers; and brings their bytes, verified. Nothing
//! that comes from a peer is stored.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use assetmesh_protocol::ids::{AssetId, NodeKey};
use assetmesh_protocol::nvcf::{HeldAsset, NVCF_IDS_MAX, NvcfAnswer, NvcfAsk, NvcfRefusal};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Error, Nvcf, Silence, state};
use crate::liveness::PeerState;
use crate::swarm::Service;

/// Peers that are asked at once.
const ASKED_AT_ONCE: usize = 32;

/// The bytes of an asset in order, each checked against its hash right before. Ends after the first error.
pub type Content = BoxStream<'static, Result<Bytes, Error>>;

/// An input asset that was found, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The asset.
    pub id: Uuid,
    /// Its media type.
    pub content_type: String,
    /// The BLAKE3 hash of its content.
    pub blob: AssetId,
    /// Its size in bytes. Of one on a peer it is a claim, proven when all bytes have come.
    pub size: u64,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Here,
    /// Trusted peers that say they have it, in the order of their answers.
    There(Vec<NodeKey>),
}

impl Resolved {
    /// Whether the bytes lie on this node.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.place == Place::Here
    }
}

impl Nvcf {
    /// Finds uploaded assets of an account: here first, then on the peers that this node trusts to speak for accounts
    /// and that trust it, for so long at most. In the order of `ids`, each once.
    ///
    /// # Errors
    /// `NotFound` or `Unanswered` for the first that is nowhere, and the store's own.
    pub async fn resolve(
        &self,
        account: &str,
        ids: &[Uuid],
        within: Duration,
    ) -> Result<Vec<Resolved>, Error> {
        let mut seen = HashSet::new();
        let ids: Vec<Uuid> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        let mut found: HashMap<Uuid, Resolved> = HashMap::new();
        for id in &ids {
            match self.get(account, *id) {
                Ok(asset) => {
                    let Some((blob, size)) = asset.content else { continue };
                    let (content_type, place) = (asset.content_type, Place::Here);
                    found.insert(*id, Resolved { id: *id, content_type, blob, size, place });
                }
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let missing: Vec<Uuid> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        let silence = if missing.is_empty() {
            Silence::default()
        } else {
            self.ask_all(account, &missing, Instant::now() + within, &mut found).await
        };
        ids.iter()
            .map(|id| match found.remove(id) {
                Some(resolved) => Ok(resolved),
                None if silence == Silence::default() => Err(Error::NotFound(*id)),
                None => Err(Error::Unanswered { id: *id, silence: silence.clone() }),
            })
            .collect()
    }

    /// The bytes of an asset that was found.
    ///
    /// # Errors
    /// It is gone meanwhile, or the blob store cannot be read.
    pub fn open(&self, resolved: &Resolved) -> Result<Content, Error> {
        let whole = 0..resolved.size;
        match &resolved.place {
            Place::Here => {
                let blob = self.inner.blobs.open(&resolved.blob)?.ok_or(Error::NotFound(resolved.id))?;
                // What turns out to be damaged and others have as well is mended on the way.
                Ok(self.inner.fetch.read_own(&blob, whole).map_err(Error::from).boxed())
            }
            Place::There(providers) => {
                let (id, size) = (resolved.blob, resolved.size);
                Ok(self.inner.fetch.read_private(id, size, providers.clone()).map_err(Error::from).boxed())
            }
        }
    }

    /// Asks trusted peers until all is found or the deadline is over. Returns who did not say whether it has the rest.
    async fn ask_all(
        &self,
        account: &str,
        ids: &[Uuid],
        deadline: Instant,
        found: &mut HashMap<Uuid, Resolved>,
    ) -> Silence {
        let peers = self.inner.setup.peers.borrow().clone();
        let trusted = peers.iter().filter(|(key, _)| self.inner.setup.trust.has(key));
        let (up, rest): (Vec<_>, Vec<_>) = trusted
            .map(|(key, fact)| (*key, fact.state))
            .partition(|(_, state)| matches!(state, PeerState::Alive | PeerState::Suspect));
        let down = rest.into_iter().filter(|(_, state)| *state == PeerState::Down);
        let mut silence = Silence { silent: down.map(|(key, _)| key).collect(), distrusting: Vec::new() };
        let mut unheard: BTreeSet<NodeKey> = up.into_iter().map(|(key, _)| key).collect();
        let questions = unheard.iter().map(|peer| self.ask(*peer, account, ids, deadline));
        let questions: Vec<_> = questions.collect();
        let mut answers = stream::iter(questions).buffer_unordered(ASKED_AT_ONCE);
        // An asset lies on one node, so that there is nobody else to wait for.
        while !ids.iter().all(|id| found.contains_key(id)) {
            let Ok(Some((peer, answer))) = timeout_at(deadline, answers.next()).await else { break };
            unheard.remove(&peer);
            match answer {
                Some(NvcfAnswer::Held(held)) => held.into_iter().for_each(|asset| note(found, peer, asset)),
                Some(NvcfAnswer::Refused(NvcfRefusal::Forbidden)) => silence.distrusting.push(peer),
                Some(NvcfAnswer::Refused(_)) | None => silence.silent.push(peer),
            }
        }
        silence.silent.extend(unheard);
        silence
    }

    /// Asks one peer; nothing if it gives no answer in time.
    async fn ask(
        &self,
        peer: NodeKey,
        account: &str,
        ids: &[Uuid],
        deadline: Instant,
    ) -> (NodeKey, Option<NvcfAnswer>) {
        let mut all = Vec::new();
        for some in ids.chunks(NVCF_IDS_MAX) {
            let Ok(body) = NvcfAsk::new(account, some).encode() else { return (peer, None) };
            let within = deadline.saturating_duration_since(Instant::now());
            let answer = self.inner.swarm.request(peer, Service::Nvcf, body, within).await;
            let answer = answer.map_err(|error| error.to_string());
            let answer =
                answer.and_then(|bytes| NvcfAnswer::decode(&bytes).map_err(|error| error.to_string()));
            if let Err(reason) = &answer {
                tracing::debug!(assets_db_id = %peer.assets_db_id(), "a peer does not say what it has: {reason}");
            }
            match answer.ok() {
                // What was not asked for is not taken, nor what this node itself would have refused.
                Some(NvcfAnswer::Held(held)) => {
                    all.extend(held.into_iter().filter(|asset| some.contains(&asset.id()) && is_fit(asset)));
                }
                other => return (peer, other),
            }
        }
        (peer, Some(NvcfAnswer::Held(all)))
    }
}

fn is_fit(asset: &HeldAsset) -> bool {
    let is_empty_right = asset.size > 0 || asset.blob() == AssetId::of(b"");
    state::check_content_type(&asset.content_type).is_ok() && is_empty_right
}

/// The first answer counts; who says the same is another provider.
fn note(found: &mut HashMap<Uuid, Resolved>, peer: NodeKey, asset: HeldAsset) {
    let (id, blob, size) = (asset.id(), asset.blob(), asset.size);
    let resolved = found.entry(id).or_insert_with(|| Resolved {
        id,
        content_type: asset.content_type,
        blob,
        size,
        place: Place::There(Vec::new()),
    });
    if let Place::There(providers) = &mut resolved.place
        && (resolved.blob, resolved.size) == (blob, size)
        && !providers.contains(&peer)
    {
        providers.push(peer);
    }
}

#[cfg(test)]
impl Resolved {
    /// What a peer would have said.
    pub(super) fn there(id: Uuid, blob: AssetId, size: u64, provider: NodeKey) -> Self {
        Self { id, content_type: String::new(), blob, size, place: Place::There(vec![provider]) }
    }

    pub(super) fn or_at(mut self, provider: NodeKey) -> Self {
        if let Place::There(providers) = &mut self.place {
            providers.push(provider);
        }
        self
    }
}
