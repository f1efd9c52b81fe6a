//! Every limit of the peer network, in one place, each with its reason. The library's own defaults are open.

use std::time::Duration;

use assetmesh_protocol::codec::LONG_BYTES_MAX;

use super::Service;

// Messages.

/// Longest request to a peer, in bytes: one registry record or some claims are far shorter.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Longest answer of a peer, in bytes: a round of anti-entropy has at most 256 KiB.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of requests above [`REQUEST_BYTES_MAX`] that are read and answered at once. 32 MiB: sixteen of the longest, and
/// a long filter or description is rare. The next is told "busy" before it is read.
pub(super) const LONG_REQUESTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest request to a service, in bytes: a filter or a change may be as long as a client's body.
#[must_use]
pub const fn request_bytes_max(service: Service) -> usize {
    match service {
        Service::Query | Service::Write => LONG_BYTES_MAX,
        Service::Registry | Service::Liveness | Service::Forward | Service::Summary | Service::Nvcf => {
            REQUEST_BYTES_MAX
        }
    }
}

/// Longest answer of a service, in bytes: as many rows as a description may be long, or one row alone.
#[must_use]
pub const fn answer_bytes_max(service: Service) -> usize {
    match service {
        Service::Query => LONG_BYTES_MAX,
        Service::Registry
        | Service::Liveness
        | Service::Forward
        | Service::Write
        | Service::Summary
        | Service::Nvcf => ANSWER_BYTES_MAX,
    }
}

/// Longest frame of gossip, in bytes: some messages of one record each (about 10 KiB) and their control part.
pub(super) const GOSSIP_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest gossip message, in bytes: what leaves room for the frame around it.
pub const GOSSIP_BYTES_MAX: usize = 60 * 1024;

// Connections.

/// Connections in all. 256 full-mesh peers are far above the 64 of a small federation; each costs some 30 KiB at rest,
/// and 100 to 300 KiB while much is sent.
pub(super) const CONNECTIONS_MAX: u32 = 256;
/// Inbound connections in all: whoever connects from outside leaves room for the peers that this node dials itself.
pub(super) const INBOUND_CONNECTIONS_MAX: u32 = 192;
/// Connections a peer: one, and room for both sides dialling at once and for one that is being replaced.
pub(super) const CONNECTIONS_PER_PEER_MAX: u32 = 3;
/// Inbound handshakes at once. A handshake takes a few milliseconds; more wait in the kernel's queue.
pub(super) const PENDING_INBOUND_MAX: u32 = 64;
/// Outbound handshakes at once; dials of the DHT and of requests included.
pub(super) const PENDING_OUTBOUND_MAX: u32 = 32;
/// Connections, open or in handshake, from one IP address that is not loopback. A host seldom runs more nodes.
pub(super) const CONNECTIONS_PER_IP_MAX: usize = 32;
/// Inbound handshakes at once from one IP address that is not loopback, so that one host cannot take all of
/// [`PENDING_INBOUND_MAX`].
pub(super) const PENDING_PER_IP_MAX: usize = 16;
/// How long dial and handshake may take. A stalled process accepts and never answers, so this bounds each retry.
pub(super) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How long closing may take. 1 s: what is then still to be written is for a peer that has no use for it, or reads nothing.
pub(super) const CLOSING_WITHIN: Duration = Duration::from_secs(1);
/// How long a connection may go without saying which federation it belongs to.
pub(super) const IDENTIFY_WITHIN: Duration = Duration::from_secs(10);
/// A connection without any traffic of ours is kept: links are what liveness watches. A year stands for ever.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(365 * 24 * 3600);
/// Streams on one connection: at most 200 requests and 128 transfers of content, gossip and what the library needs. Each
/// may buffer 256 KiB. One more ends the connection, so nothing here may come near it.
pub(super) const STREAMS_PER_CONNECTION_MAX: usize = 384;
/// Streams of one connection that are being negotiated.
pub(super) const NEGOTIATING_STREAMS_MAX: usize = 64;
/// Events of a connection that wait for the loop; then the connection itself waits.
pub(super) const CONNECTION_EVENTS: usize = 16;

// Links.

/// Time between pings: what the failure detector counts in.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);
/// How long one ping may take before its stream is given up for a new one. Long, so that a peer that stalls for
/// seconds answers the ping it had, and its connection stays; silence is for liveness to judge.
pub(super) const PING_WITHIN: Duration = Duration::from_secs(15);
/// A peer that is wanted and silent for this long is dialled beside the connection it has: after a cut, TCP tries its
/// old connection again only after a minute.
pub(super) const SILENT_REDIAL: Duration = Duration::from_secs(10);
/// A connection on which nothing came back for this long is half open, and is closed.
pub(super) const SILENT_LINK_MAX: Duration = Duration::from_secs(90);
/// How long a second connection to the same peer is left to end what it carries.
pub(super) const SECOND_CONNECTION: Duration = Duration::from_secs(5);
/// Dials that this node starts by itself at once.
pub(super) const DIALS_AT_ONCE: usize = 16;
/// Links below which the node dials peers that it merely heard of. Enough for gossip's mesh of 6 to 12.
pub(super) const LINKS_SOUGHT: usize = 16;
/// Dials at once of peers that the node merely heard of, so that lies about addresses cost others little.
pub(super) const HINTED_DIALS_AT_ONCE: usize = 4;
/// How long a link that was made for a question or a transfer is kept unused, once there are [`LINKS_SOUGHT`]. Two clients
/// of the same content seldom come ten minutes apart, and a link costs two pings a second.
pub(super) const BORROWED_LINK: Duration = Duration::from_secs(600);
/// Those who wait for links at once. The next are told "busy".
pub(super) const LINK_WAITERS_MAX: usize = 1024;
/// First wait after a failed dial; it doubles.
pub(super) const REDIAL_FIRST: Duration = Duration::from_millis(500);
/// Longest wait for a wanted peer: it must be back within 5 s of its return.
pub(super) const REDIAL_WANTED_MAX: Duration = Duration::from_secs(3);
/// Failed dials in a row (about 10 minutes) after which a wanted peer is dialled as seldom as
/// [`REDIAL_HINTED_MAX`] says; when it returns, it dials us.
pub(super) const REDIAL_WANTED_TIMES: u32 = 200;
/// Longest wait for a bootstrap address: a node that was cut off alone finds the others again within this.
pub(super) const REDIAL_BOOTSTRAP_MAX: Duration = Duration::from_secs(10);
/// Time between two warnings that no bootstrap address answers.
pub(super) const STRANDED_EVERY: Duration = Duration::from_secs(60);
/// Longest wait for a peer that the node merely heard of.
pub(super) const REDIAL_HINTED_MAX: Duration = Duration::from_secs(120);
/// Failed dials in a row after which rumours about a peer are forgotten.
pub(super) const HINTED_DIALS_MAX: u32 = 8;
/// Of two nodes that want each other, the one with the greater key waits this long, so that one connection is made.
pub(super) const GREATER_KEY_WAITS: Duration = Duration::from_millis(400);
/// How long a peer of another federation is not dialled again.
pub(super) const OTHER_NETWORK_PAUSE: Duration = Duration::from_secs(600);

// Memory of peers.

/// Peers whose addresses are remembered: a federation of 1 000 with room for those that went.
pub(super) const BOOK_PEERS_MAX: usize = 4096;
/// Addresses of one peer: some interfaces, both families.
pub(super) const ADDRESSES_PER_PEER_MAX: usize = 8;
/// Peers in the cache on disk. To find a federation again one of them is enough.
pub(super) const CACHE_PEERS_MAX: usize = 256;
/// Longest cache file that is read, in bytes.
pub(super) const CACHE_BYTES_MAX: u64 = 1024 * 1024;
/// How long a peer stays in the cache without being seen.
pub(super) const CACHE_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
/// Time between a change and the write of the cache: more changes follow each other, above all at the start.
pub(super) const CACHE_AFTER: Duration = Duration::from_secs(2);
/// Time between two writes of the cache.
pub(super) const CACHE_EVERY: Duration = Duration::from_secs(30);

// Conduct.

/// Offence points at which a peer is banned.
pub(super) const OFFENCE_POINTS_MAX: f64 = 100.0;
/// Time in which offence points halve.
pub(super) const OFFENCE_HALF_LIFE: Duration = Duration::from_secs(60);
/// How long a ban lasts.
pub(super) const BAN: Duration = Duration::from_secs(600);
/// Peers whose conduct is remembered, and bans at once.
pub(super) const CONDUCT_PEERS_MAX: usize = 4096;

/// Gossip a peer may send, in messages of at most [`GOSSIP_COST_BYTES`] (a longer one counts as several): a second, and
/// at once. A mesh peer passes on what the whole federation says, and a script that makes 1 000 entries is no attack.
/// What is above is ignored; anti-entropy brings it.
pub(super) const GOSSIP_RATE: Rate = Rate { per_second: 200.0, burst: 2000.0 };

/// Bytes of gossip that count as one message: most records are shorter.
pub(super) const GOSSIP_COST_BYTES: usize = 2048;
/// How often a peer may say who it is and where it listens: once for each change of its addresses.
pub(super) const IDENTIFY_RATE: Rate = Rate { per_second: 0.5, burst: 30.0 };

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// In the long run.
    pub(super) per_second: f64,
    /// At once.
    pub(super) burst: f64,
}

/// Requests that a peer may send to a service.
pub(super) const fn request_rate(service: Service) -> Rate {
    match service {
        // A round of anti-entropy is a handful of requests; after a long absence some hundred follow each other.
        Service::Registry => Rate { per_second: 100.0, burst: 1000.0 },
        // One a second and peer, and some more when suspicions spread.
        Service::Liveness => Rate { per_second: 50.0, burst: 200.0 },
        // Two for each write that a client sends to a node that is not the owner: the permit, and the change.
        Service::Forward => Rate { per_second: 400.0, burst: 800.0 },
        // As above, for assets.
        Service::Write => Rate { per_second: 400.0, burst: 800.0 },
        // The parts of a summary now and then, and a word when one has changed.
        Service::Summary => Rate { per_second: 50.0, burst: 200.0 },
        // One for each call of a function whose assets are not all there.
        Service::Nvcf => Rate { per_second: 500.0, burst: 1000.0 },
        // One for each query of each client of that node.
        Service::Query => Rate { per_second: 2000.0, burst: 4000.0 },
    }
}

/// Requests that this node sends to a service of one peer: fewer than the peer takes from it, so that an honest node is
/// never taken for one that floods. Eight tenths in the long run, since clocks and delays differ; half at once, so that a
/// node that restarts may begin anew.
pub(super) const fn asking_rate(service: Service) -> Rate {
    let taken = request_rate(service);
    Rate { per_second: taken.per_second * 0.8, burst: taken.burst * 0.5 }
}

/// Services of peers whose requests are counted on the way out: all of a federation of 1 000.
pub(super) const PACED_MAX: usize = 8192;

// Work at once.

/// Questions to the swarm that wait for its loop; few are longer than 64 KiB.
pub(super) const MAILBOX: usize = 256;
/// Requests of one peer that are being answered. The next is told "busy".
pub(super) const ANSWERING_PER_PEER_MAX: usize = 32;
/// Requests in all that are being answered: at most 64 KiB each, and [`LONG_REQUESTS_BYTES_MAX`] for longer ones.
pub(super) const ANSWERING_MAX: usize = 256;
/// Requests to one peer that wait for their answer. A stalled peer holds no more than these.
pub(super) const ASKING_PER_PEER_MAX: usize = 32;
/// Requests in all that wait for their answer.
pub(super) const ASKING_MAX: usize = 1024;
/// Streams of one service on one connection: both directions.
pub(super) const REQUEST_STREAMS_MAX: usize = 40;
/// How long a request may take in all; what an asker grants is at most this.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(15);
/// How long one side may take to make an answer; a little less than the asker waits.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// Gossip messages whose verdict is awaited. The next are ignored.
pub(super) const JUDGING_MAX: usize = 1024;
/// How long a verdict may take: gossip forgets the message after [`GOSSIP_HISTORY`] heartbeats.
pub(super) const VERDICT_WITHIN: Duration = Duration::from_secs(4);

// Streams of content.

/// Streams that peers have opened and nobody has looked at yet. The next are told "busy".
pub const STREAMS_WAITING_MAX: usize = 64;
/// Streams that are being answered: each holds up to 2 MiB of content on its way.
pub const SERVED_STREAMS_MAX: usize = 128;
/// Streams of one peer that are being answered, so that one peer leaves room for others.
pub const SERVED_STREAMS_PER_PEER_MAX: usize = 64;

// Gossip.

/// Time between heartbeats of the mesh.
pub(super) const GOSSIP_HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats for which a message can be fetched by those who missed it.
pub(super) const GOSSIP_HISTORY: usize = 6;
/// How long a message is known as seen, so that it is not spread twice.
pub(super) const GOSSIP_SEEN: Duration = Duration::from_secs(120);
/// Messages to one peer that wait to be sent; for a slower peer they are dropped, and anti-entropy brings them.
pub(super) const GOSSIP_QUEUE: usize = 256;
/// Messages in one frame.
pub(super) const GOSSIP_FRAME_MESSAGES_MAX: usize = 256;
/// Longest control part of a frame, in bytes.
pub(super) const GOSSIP_CONTROL_BYTES_MAX: usize = 16 * 1024;
/// Message ids offered or asked for in one heartbeat.
pub(super) const GOSSIP_IHAVE_IDS_MAX: usize = 1000;
/// Topics that one peer may name at once; there is one topic.
pub(super) const GOSSIP_TOPICS_MAX: usize = 4;

// DHT.

/// Time between two refreshes of the routing table: it is a hint, and a refresh costs messages.
pub(super) const DHT_REFRESH_EVERY: Duration = Duration::from_secs(600);
/// How long a lookup may take.
pub(super) const DHT_QUERY_WITHIN: Duration = Duration::from_secs(10);
/// Longest message of the DHT, in bytes.
pub(super) const DHT_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Records that the DHT keeps for others: none. Nothing is decided by it.
pub(super) const DHT_RECORDS_MAX: usize = 0;
/// Failed dials of a wanted peer before the DHT is asked where it is.
pub(super) const DHT_AFTER_DIALS: u32 = 3;
/// Lookups at once that this node starts.
pub(super) const DHT_LOOKUPS_MAX: usize = 8;
/// Time between two lookups of one peer.
pub(super) const DHT_LOOKUP_EVERY: Duration = Duration::from_secs(60);

// The task.

/// How long the swarm goes on after the node was told to stop, so that farewells get out.
pub(super) const FAREWELL: Duration = Duration::from_millis(250);
/// Time between two looks at round trips by those above.
pub(super) const LINKS_EVERY: Duration = Duration::from_secs(1);

/// Time between two looks at what is due.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// First wait before the swarm is built again after a panic; it doubles.
pub(super) const REBUILD_FIRST: Duration = Duration::from_millis(100);
/// Longest wait before the swarm is built again.
pub(super) const REBUILD_MAX: Duration = Duration::from_secs(10);
/// A swarm that ran this long was well: the next wait is the first again.
pub(super) const REBUILD_FORGOTTEN: Duration = Duration::from_secs(60);
