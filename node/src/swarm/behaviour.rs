//! The protocols that run on each connection, with the limits of [`super::limits`]. It holds no logic of its own.

use std::collections::{HashMap, HashSet};

use libp2p::gossipsub::{
    self, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::PublicKey;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, BucketInserts, StoreInserts};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, allow_block_list, connection_limits, identify, mdns, ping};

use assetmesh_protocol::network::NetworkName;

use super::crowd::{Crowd, CrowdLimits};
use super::exchange::{Exchange, Room};
use super::{Service, limits};

/// Gossip that carries one topic and hears of no other.
pub(super) type Gossipsub =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;
/// One service's requests and answers.
pub(super) type Requests = request_response::Behaviour<Exchange>;

/// All protocols of a connection. What refuses connections stands first, so that the others never see them.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    crowd: Crowd,
    pub(super) refused: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) gossip: Gossipsub,
    pub(super) registry: Requests,
    pub(super) liveness: Requests,
    pub(super) forward: Requests,
    pub(super) query: Requests,
    pub(super) write: Requests,
    pub(super) streams: libp2p_stream::Behaviour,
    pub(super) dht: kad::Behaviour<MemoryStore>,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What the peer network calls things in one federation. Another federation's names differ, so that no protocol
/// between the two is ever agreed on.
#[derive(Debug, Clone)]
pub(super) struct Names {
    network: NetworkName,
}

impl Names {
    pub(super) fn new(network: NetworkName) -> Self {
        Self { network }
    }

    /// What `identify` says the federation is.
    pub(super) fn federation(&self) -> String {
        format!("/assetmesh/{}/1", self.network)
    }

    /// The topic of the registry's gossip.
    pub(super) fn topic(&self) -> gossipsub::IdentTopic {
        gossipsub::IdentTopic::new(self.name("registry"))
    }

    /// The protocol of streams: the transfer of content.
    pub(super) fn streams(&self) -> StreamProtocol {
        self.protocol("blob")
    }

    fn name(&self, part: &str) -> String {
        format!("/assetmesh/{}/{part}/1", self.network)
    }

    fn protocol(&self, part: &str) -> StreamProtocol {
        StreamProtocol::try_from_owned(self.name(part)).expect("a protocol name begins with a slash")
    }
}

/// Why the protocols cannot be set up: which, and what was said.
pub(super) type SetupError = (&'static str, String);

impl Behaviour {
    /// Sets up all protocols of one node.
    pub(super) fn new(key: &PublicKey, names: &Names, with_mdns: bool) -> Result<Self, SetupError> {
        let local = key.to_peer_id();
        let mdns = match with_mdns {
            true => Some(
                mdns::tokio::Behaviour::new(mdns::Config::default(), local)
                    .map_err(|error| ("mDNS", error.to_string()))?,
            ),
            false => None,
        };
        let room = Room::default();
        let requests = |service| requests(names, service, &room);
        Ok(Self {
            limits: connection_limits::Behaviour::new(connection_limits()),
            crowd: Crowd::new(CrowdLimits {
                pending: limits::PENDING_PER_IP_MAX,
                all: limits::CONNECTIONS_PER_IP_MAX,
            }),
            refused: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(
                identify::Config::new(names.federation(), key.clone())
                    .with_agent_version(concat!("assetmesh/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_push_listen_addr_updates(true)
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(limits::PING_EVERY).with_timeout(limits::PING_WITHIN),
            ),
            gossip: gossip(names).map_err(|reason| ("gossip", reason))?,
            registry: requests(Service::Registry),
            liveness: requests(Service::Liveness),
            forward: requests(Service::Forward),
            query: requests(Service::Query),
            write: requests(Service::Write),
            streams: libp2p_stream::Behaviour::new(),
            dht: dht(names, local),
            mdns: mdns.into(),
        })
    }

    /// The requests of one service.
    pub(super) fn requests(&mut self, service: Service) -> &mut Requests {
        match service {
            Service::Registry => &mut self.registry,
            Service::Liveness => &mut self.liveness,
            Service::Forward => &mut self.forward,
            Service::Query => &mut self.query,
            Service::Write => &mut self.write,
        }
    }
}

fn connection_limits() -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits::PENDING_INBOUND_MAX))
        .with_max_pending_outgoing(Some(limits::PENDING_OUTBOUND_MAX))
        .with_max_established_incoming(Some(limits::INBOUND_CONNECTIONS_MAX))
        .with_max_established(Some(limits::CONNECTIONS_MAX))
        .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER_MAX))
}

fn requests(names: &Names, service: Service, room: &Room) -> Requests {
    let config = request_response::Config::default()
        .with_request_timeout(limits::REQUEST_WITHIN)
        .with_max_concurrent_streams(limits::REQUEST_STREAMS_MAX);
    let exchange = Exchange::new(service, room.clone());
    Requests::with_codec(exchange, [(names.protocol(service.name()), ProtocolSupport::Full)], config)
}

fn dht(names: &Names, local: libp2p::PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(names.protocol("kad"));
    config
        .disjoint_query_paths(true)
        .set_query_timeout(limits::DHT_QUERY_WITHIN)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_max_packet_size(limits::DHT_FRAME_BYTES_MAX)
        // Only peers that have shown that they belong to this federation get in.
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_periodic_bootstrap_interval(Some(limits::DHT_REFRESH_EVERY));
    let store = MemoryStoreConfig {
        max_records: limits::DHT_RECORDS_MAX,
        max_provided_keys: limits::DHT_RECORDS_MAX,
        ..MemoryStoreConfig::default()
    };
    let mut dht = kad::Behaviour::with_config(local, MemoryStore::with_config(local, store), config);
    dht.set_mode(Some(kad::Mode::Server));
    dht
}

/// Messages carry no author and no number of gossip's own: what is in them is signed by its owner, and the same bytes
/// are the same message, whoever sends them.
fn gossip(names: &Names) -> Result<Gossipsub, String> {
    let topic = names.topic();
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id(names.name("gossip"), gossipsub::Version::V1_1)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::from(blake3::hash(&message.data).as_bytes().to_vec()))
        .max_transmit_size(limits::GOSSIP_FRAME_BYTES_MAX)
        .max_publish_messages(limits::GOSSIP_FRAME_MESSAGES_MAX)
        .max_control_message_size(limits::GOSSIP_CONTROL_BYTES_MAX)
        .max_control_messages_sent(limits::GOSSIP_IHAVE_IDS_MAX)
        .connection_handler_queue_len(limits::GOSSIP_QUEUE)
        .duplicate_cache_time(limits::GOSSIP_SEEN)
        .heartbeat_interval(limits::GOSSIP_HEARTBEAT)
        .heartbeat_initial_delay(limits::GOSSIP_HEARTBEAT)
        .history_length(limits::GOSSIP_HISTORY)
        .flood_publish(false)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(HashSet::from([topic.hash()])),
        max_subscribed_topics: limits::GOSSIP_TOPICS_MAX,
        max_subscriptions_per_request: limits::GOSSIP_TOPICS_MAX,
    };
    let mut gossip =
        gossipsub::Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)?;
    gossip.with_peer_score(scores(&topic), PeerScoreThresholds::default())?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossip)
}

/// Only bad messages and bad protocol count against a peer. Silence does not: a registry at rest says nothing. Nor does
/// a shared IP address: that is bounded where connections are made.
fn scores(topic: &gossipsub::IdentTopic) -> PeerScoreParams {
    let of_topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 100.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Two bad messages are borne, the third makes the peer unheard until they are forgotten.
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.95,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: HashMap::from([(topic.hash(), of_topic)]),
        ip_colocation_factor_weight: 0.0,
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    fn names(network: &str) -> Names {
        Names::new(network.parse().unwrap())
    }

    #[tokio::test]
    async fn all_protocols_can_be_set_up_with_their_limits() {
        let key = Keypair::generate_ed25519().public();
        let behaviour = Behaviour::new(&key, &names("main"), false).unwrap();
        assert_eq!(behaviour.gossip.topics().count(), 1);
        assert_eq!(behaviour.dht.mode(), kad::Mode::Server);
        assert!(!behaviour.mdns.is_enabled());
    }

    #[test]
    fn no_name_of_one_federation_is_a_name_in_another() {
        let (one, two) = (names("one"), names("one-two"));
        assert_eq!(one.federation(), "/assetmesh/one/1");
        assert_eq!(one.protocol("kad").as_ref(), "/assetmesh/one/kad/1");
        assert_eq!(one.topic().hash().as_str(), "/assetmesh/one/registry/1");
        assert_ne!(one.federation(), two.federation());
        assert_ne!(one.protocol("kad"), two.protocol("kad"));
        assert_ne!(one.topic().hash(), two.topic().hash());
    }

    #[test]
    fn a_quiet_peer_loses_no_score() {
        let topic = names("main").topic();
        let scores = scores(&topic);
        scores.validate().unwrap();
        let of_topic = &scores.topics[&topic.hash()];
        assert_eq!(of_topic.mesh_message_deliveries_weight, 0.0);
        assert_eq!(of_topic.mesh_failure_penalty_weight, 0.0);
        assert!(of_topic.invalid_message_deliveries_weight < 0.0);
    }
}
