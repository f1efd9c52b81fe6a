//! Those who wait for a link to a peer that was not linked when they needed it.

use std::collections::BTreeMap;

use assetmesh_protocol::ids::NodeKey;

use super::LinkReply;
use super::running::Running;
use crate::swarm::state::{Borrow, Input, Missed, Target};
use crate::swarm::{Error, limits};

/// Who waits for which peer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    replies: BTreeMap<NodeKey, Vec<LinkReply>>,
}

impl Waiting {
    fn add(&mut self, peer: NodeKey, reply: LinkReply) {
        let waiting: usize = self.replies.values().map(Vec::len).sum();
        if waiting < limits::LINK_WAITERS_MAX {
            self.replies.entry(peer).or_default().push(reply);
        } else {
            // The asker may have given up.
            reply.send(Err(Error::Busy)).ok();
        }
    }

    /// The link is there.
    pub(super) fn linked(&mut self, peer: &NodeKey) {
        self.settle(peer, &Ok(()));
    }

    /// There will be no link.
    pub(super) fn lost(&mut self, peer: &NodeKey) {
        self.settle(peer, &Err(Error::Unreachable("it does not answer at its addresses".to_owned())));
    }

    fn settle(&mut self, peer: &NodeKey, result: &Result<(), Error>) {
        for reply in self.replies.remove(peer).into_iter().flatten() {
            // The asker may have given up.
            reply.send(result.clone()).ok();
        }
    }

    /// Lets go of those who have given up.
    pub(super) fn tidy(&mut self) {
        self.replies.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
    }
}

impl Running<'_> {
    /// Makes a link to a peer, and tells `reply` when it is there or will not be.
    pub(super) fn link(&mut self, peer: NodeKey, reply: LinkReply) {
        let now = self.shared.now();
        let refused = match self.shared.state.borrow(now, peer) {
            Borrow::Coming(outputs) => {
                self.waiting.add(peer, reply);
                return self.perform(outputs);
            }
            Borrow::Linked => Ok(()),
            Borrow::Busy => Err(Error::Busy),
            Borrow::Unreachable(why) => Err(Error::Unreachable(why.to_owned())),
        };
        // The asker may have given up.
        reply.send(refused).ok();
    }

    /// A dial led nowhere.
    pub(super) fn missed(&mut self, target: Target, missed: Missed) {
        self.happened(Input::Missed { target, missed });
        if let Target::Peer(peer) = target
            && !self.shared.state.is_connected(&peer)
        {
            self.waiting.lost(&peer);
        }
    }
}
