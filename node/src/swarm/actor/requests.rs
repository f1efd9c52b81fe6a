//! Requests to peers and of peers: bounded in number, in size and in time. It reads none.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use assetmesh_protocol::ids::NodeKey;
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::Reply;
use super::running::Running;
use crate::swarm::address::{node_key, peer_id};
use crate::swarm::exchange::{Answer, Asked as Incoming, is_too_long};
use crate::swarm::metrics::Metrics;
use crate::swarm::{Error, Offence, Request, Service, limits};

/// Requests to peers that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Asking {
    waiting: BTreeMap<(Service, OutboundRequestId), Asked>,
    /// How many of them go to each peer.
    to: BTreeMap<NodeKey, usize>,
}

#[derive(Debug)]
struct Asked {
    peer: NodeKey,
    /// `None` when the asker has given up; the stream is open all the same.
    reply: Option<Reply>,
}

impl Asking {
    fn is_full_for(&self, peer: &NodeKey) -> bool {
        let to_peer = self.to.get(peer).copied().unwrap_or_default();
        self.waiting.len() >= limits::ASKING_MAX || to_peer >= limits::ASKING_PER_PEER_MAX
    }

    fn add(&mut self, service: Service, id: OutboundRequestId, peer: NodeKey, reply: Reply) {
        *self.to.entry(peer).or_default() += 1;
        self.waiting.insert((service, id), Asked { peer, reply: Some(reply) });
    }

    fn take(&mut self, service: Service, id: OutboundRequestId) -> Option<Asked> {
        let asked = self.waiting.remove(&(service, id))?;
        release(&mut self.to, asked.peer);
        Some(asked)
    }

    /// Lets go of the askers that have given up.
    pub(super) fn tidy(&mut self) {
        for asked in self.waiting.values_mut() {
            asked.reply.take_if(|reply| reply.is_closed());
        }
    }
}

/// A request whose answer is awaited from those above.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// An answer on its way out.
pub(super) struct Answered {
    service: Service,
    peer: NodeKey,
    channel: ResponseChannel<Answer>,
    answer: Answer,
}

impl Running<'_> {
    /// Sends a request; its answer, or why there is none, goes to `reply`.
    pub(super) fn ask(&mut self, peer: NodeKey, service: Service, body: Vec<u8>, reply: Reply) {
        let addresses = match self.shared.state.is_connected(&peer) {
            true => Vec::new(),
            false => self.shared.state.addresses(&peer),
        };
        let refused = if self.asking.is_full_for(&peer) {
            Some(Error::Busy)
        } else if addresses.is_empty() && !self.shared.state.is_connected(&peer) {
            Some(Error::Unreachable("it is not linked and no address of it may be dialled".to_owned()))
        } else {
            None
        };
        if let Some(error) = refused {
            answer_asker(&self.shared.metrics, service, Some(reply), Err(error));
            return;
        }
        let now = self.shared.now();
        self.shared.state.used(now, peer);
        let requests = self.generation.swarm.behaviour_mut().requests(service);
        let id = requests.send_request_with_addresses(&peer_id(peer), body.into(), addresses);
        self.asking.add(service, id, peer, reply);
    }

    pub(super) fn request_event(&mut self, service: Service, event: Event<Incoming, Answer>) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request { request, channel, .. } => {
                    if let Some(peer) = node_key(&peer) {
                        self.asked(service, peer, request, channel);
                    }
                }
                Message::Response { request_id, response } => {
                    let result = match response {
                        Answer::Done(body) => Ok(body),
                        Answer::Busy => Err(Error::Busy),
                        Answer::Refused => Err(Error::Refused),
                    };
                    self.settle(service, request_id, result);
                }
            },
            Event::OutboundFailure { request_id, error, .. } => self.unanswered(service, request_id, &error),
            Event::InboundFailure { peer, error, .. } => {
                self.shared.metrics.answered(service, "failed");
                tracing::debug!(%peer, service = service.name(), %error, "a request came to nothing");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn unanswered(&mut self, service: Service, id: OutboundRequestId, failure: &OutboundFailure) {
        let error = match failure {
            OutboundFailure::DialFailure => {
                Error::Unreachable("it does not answer at its addresses".to_owned())
            }
            OutboundFailure::Timeout => Error::Timeout(limits::REQUEST_WITHIN),
            OutboundFailure::ConnectionClosed => {
                Error::Unreachable("the connection closed before the answer came".to_owned())
            }
            OutboundFailure::UnsupportedProtocols => Error::Refused,
            OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Error::BadAnswer(error.to_string())
            }
            OutboundFailure::Io(error) => Error::Unreachable(error.to_string()),
        };
        let offence = match failure {
            OutboundFailure::Io(error) if is_too_long(error) => Some(Offence::Oversized),
            _ if matches!(error, Error::BadAnswer(_)) => Some(Offence::Malformed),
            _ => None,
        };
        let peer = self.settle(service, id, Err(error));
        if let (Some(peer), Some(offence)) = (peer, offence) {
            self.offended(peer, offence);
        }
    }

    /// Gives the asker its answer. Returns whom it asked.
    fn settle(
        &mut self,
        service: Service,
        id: OutboundRequestId,
        result: Result<Vec<u8>, Error>,
    ) -> Option<NodeKey> {
        let asked = self.asking.take(service, id)?;
        answer_asker(&self.shared.metrics, service, asked.reply, result);
        Some(asked.peer)
    }

    /// Hands a peer's request up, or answers at once that nobody takes it.
    fn asked(
        &mut self,
        service: Service,
        peer: NodeKey,
        request: Incoming,
        channel: ResponseChannel<Answer>,
    ) {
        match self.hand_over(service, peer, request) {
            Ok(answer) => {
                *self.answering_for.entry(peer).or_default() += 1;
                self.answering.push(Box::pin(async move {
                    let answer = awaited(service, answer).await;
                    Answered { service, peer, channel, answer }
                }));
            }
            Err(answer) => self.send(Answered { service, peer, channel, answer }),
        }
    }

    fn hand_over(
        &mut self,
        service: Service,
        from: NodeKey,
        request: Incoming,
    ) -> Result<oneshot::Receiver<Vec<u8>>, Answer> {
        let body = match request {
            Incoming::Whole(body) => body,
            Incoming::NoRoom => return Err(Answer::Busy),
            Incoming::TooLong => {
                self.offended(from, Offence::Oversized);
                return Err(Answer::Refused);
            }
        };
        let now = self.shared.now();
        if !self.shared.state.may_ask(now, from, service) {
            // What clients ask for comes as fast as they ask: the peer that hands it on is not to blame.
            if matches!(service, Service::Registry | Service::Liveness) {
                self.offended(from, Offence::Flooding);
            }
            return Err(Answer::Busy);
        }
        let of_peer = self.answering_for.get(&from).copied().unwrap_or_default();
        if of_peer >= limits::ANSWERING_PER_PEER_MAX || self.answering.len() >= limits::ANSWERING_MAX {
            return Err(Answer::Busy);
        }
        let (answer, answered) = oneshot::channel();
        let attached = self.shared.attached.borrow();
        let to = attached.services.get(&service).ok_or(Answer::Refused)?;
        match to.try_send(Request { from, body: body.bytes, answer, room: body.room }) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(Answer::Busy),
            Err(TrySendError::Closed(_)) => Err(Answer::Refused),
        }
    }

    pub(super) fn answered(&mut self, answered: Answered) {
        release(&mut self.answering_for, answered.peer);
        self.send(answered);
    }

    fn send(&mut self, answered: Answered) {
        let Answered { service, channel, answer, .. } = answered;
        let outcome = match answer {
            Answer::Done(_) => "answered",
            Answer::Busy => "busy",
            Answer::Refused => "refused",
        };
        self.shared.metrics.answered(service, outcome);
        // The peer may have given up.
        self.generation.swarm.behaviour_mut().requests(service).send_response(channel, answer).ok();
    }
}

async fn awaited(service: Service, answer: oneshot::Receiver<Vec<u8>>) -> Answer {
    match tokio::time::timeout(limits::ANSWER_WITHIN, answer).await {
        Ok(Ok(body)) if body.len() <= limits::answer_bytes_max(service) => Answer::Done(body),
        Ok(Ok(body)) => {
            let (service, bytes) = (service.name(), body.len());
            tracing::error!(service, bytes, "an answer is longer than may be sent");
            Answer::Refused
        }
        Ok(Err(_)) => Answer::Refused,
        Err(_) => Answer::Busy,
    }
}

fn answer_asker(metrics: &Metrics, service: Service, reply: Option<Reply>, result: Result<Vec<u8>, Error>) {
    metrics.asked(service, &result);
    if let Some(reply) = reply {
        // The asker may have given up.
        reply.send(result).ok();
    }
}

fn release(counts: &mut BTreeMap<NodeKey, usize>, peer: NodeKey) {
    if let Some(count) = counts.get_mut(&peer) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&peer);
        }
    }
}
