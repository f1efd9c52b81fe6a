//! Gossip: hands messages to the one above, and its verdicts back to the mesh. It reads no message.

use std::future::Future;
use std::pin::Pin;

use assetmesh_protocol::ids::NodeKey;
use libp2p::PeerId;
use libp2p::gossipsub::{Event, Message, MessageAcceptance, MessageId, PublishError};
use tokio::sync::oneshot;

use super::running::Running;
use crate::swarm::address::node_key;
use crate::swarm::{Error, GOSSIP_BYTES_MAX, Gossip, Offence, Verdict, limits};

/// A message whose verdict is awaited.
pub(super) type Judging = Pin<Box<dyn Future<Output = Judged> + Send>>;

/// A message and what became of it.
pub(super) struct Judged {
    id: MessageId,
    from: PeerId,
    verdict: Verdict,
}

impl Running<'_> {
    pub(super) fn publish(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let topic = self.blueprint.names.topic();
        let length = bytes.len();
        match self.generation.swarm.behaviour_mut().gossip.publish(topic, bytes) {
            Ok(_) => {
                self.shared.metrics.published();
                Ok(())
            }
            // Told already, or nobody is there to be told; whoever comes later asks for what it lacks.
            Err(PublishError::Duplicate | PublishError::NoPeersSubscribedToTopic) => Ok(()),
            Err(PublishError::AllQueuesFull(_)) => Err(Error::Busy),
            Err(PublishError::MessageTooLarge) => {
                Err(Error::TooLarge { bytes: length, bytes_max: GOSSIP_BYTES_MAX })
            }
            Err(error) => Err(Error::Unreachable(error.to_string())),
        }
    }

    pub(super) fn gossip_event(&mut self, event: Event) {
        match event {
            Event::Message { propagation_source, message_id, message } => {
                self.heard_gossip(propagation_source, message_id, message);
            }
            Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(%peer_id, "gossip for a slow peer was dropped")
            }
            Event::Subscribed { .. } | Event::Unsubscribed { .. } | Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn heard_gossip(&mut self, from: PeerId, id: MessageId, message: Message) {
        let Some(peer) = node_key(&from) else { return };
        let now = self.shared.now();
        if !self.shared.state.may_gossip(now, peer, message.data.len()) {
            self.offended(peer, Offence::Flooding);
            self.judged(Judged { id, from, verdict: Verdict::Ignore });
            return;
        }
        match self.hand_up(peer, message.data) {
            Some(verdict) => self.judging.push(Box::pin(async move {
                let verdict = tokio::time::timeout(limits::VERDICT_WITHIN, verdict).await;
                Judged { id, from, verdict: verdict.ok().and_then(Result::ok).unwrap_or(Verdict::Ignore) }
            })),
            None => self.judged(Judged { id, from, verdict: Verdict::Ignore }),
        }
    }

    /// `None` when nobody takes it now.
    fn hand_up(&self, from: NodeKey, bytes: Vec<u8>) -> Option<oneshot::Receiver<Verdict>> {
        if self.judging.len() >= limits::JUDGING_MAX {
            return None;
        }
        let (verdict, judged) = oneshot::channel();
        let attached = self.shared.attached.borrow();
        attached.gossip.as_ref()?.try_send(Gossip { from, bytes, verdict }).ok()?;
        Some(judged)
    }

    pub(super) fn judged(&mut self, judged: Judged) {
        let Judged { id, from, verdict } = judged;
        self.shared.metrics.count_verdict(verdict);
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.generation.swarm.behaviour_mut().gossip;
        // False when gossip has forgotten the message meanwhile: then it is not passed on.
        let _ = gossip.report_message_validation_result(&id, &from, acceptance);
        if verdict == Verdict::Reject
            && let Some(peer) = node_key(&from)
        {
            self.offended(peer, Offence::Malformed);
        }
    }
}
