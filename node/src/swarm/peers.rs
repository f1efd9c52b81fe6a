//! The peer cache: a small file of peers that were linked, so that a node finds its federation again without a
//! bootstrap address. A file that is damaged counts as none; nothing is decided by it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::limits::{ADDRESSES_PER_PEER_MAX, CACHE_AGE_MAX, CACHE_BYTES_MAX, CACHE_PEERS_MAX};
use super::state::Remembered;

const FILE: &str = "peers.json";
/// Another number is another layout, and counts as no cache.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    format: u32,
    network: String,
    peers: Vec<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    key: String,
    addresses: Vec<String>,
    /// Milliseconds since 1970.
    linked_ms: u64,
}

/// The file of one node.
#[derive(Debug, Clone)]
pub(super) struct PeerCache {
    path: PathBuf,
    /// Peers of another federation are of no use.
    network: String,
}

impl PeerCache {
    pub(super) fn new(data_dir: &Path, network: String) -> Self {
        Self { path: data_dir.join(FILE), network }
    }

    /// What the last life of the node wrote. `now` is the time since 1970.
    pub(super) fn load(&self, now: Duration) -> Vec<Remembered> {
        match self.read(now) {
            Ok(rows) => rows,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the peer cache cannot be used");
                Vec::new()
            }
        }
    }

    /// Writes the cache under another name first, so that a crash leaves the old one or the new one.
    pub(super) fn store(&self, now: Duration, peers: &[Remembered]) -> io::Result<()> {
        let peers = peers.iter().take(CACHE_PEERS_MAX).map(|peer| Row {
            key: peer.peer.to_string(),
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
            linked_ms: u64::try_from(now.saturating_sub(peer.age).as_millis()).unwrap_or(u64::MAX),
        });
        let content = Content { format: FORMAT, network: self.network.clone(), peers: peers.collect() };
        let draft = self.path.with_extension("json.new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(&content)?)?;
        file.sync_data()?;
        fs::rename(&draft, &self.path)
    }

    fn read(&self, now: Duration) -> io::Result<Vec<Remembered>> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(CACHE_BYTES_MAX).read_to_end(&mut bytes)?;
        let content: Content = serde_json::from_slice(&bytes)?;
        if content.format != FORMAT || content.network != self.network {
            return Ok(Vec::new());
        }
        let rows = content.peers.into_iter().take(CACHE_PEERS_MAX).filter_map(|row| remembered(now, &row));
        Ok(rows.collect())
    }
}

fn remembered(now: Duration, row: &Row) -> Option<Remembered> {
    let peer: NodeKey = row.key.parse().ok()?;
    let addresses = row.addresses.iter().filter_map(|text| Address::to_dial(text).ok());
    let addresses: Vec<_> = addresses.map(|address| address.at).take(ADDRESSES_PER_PEER_MAX).collect();
    let age = now.saturating_sub(Duration::from_millis(row.linked_ms));
    (!addresses.is_empty() && age <= CACHE_AGE_MAX).then_some(Remembered { peer, addresses, age })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn cache() -> (tempfile::TempDir, PeerCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = PeerCache::new(dir.path(), "main".to_owned());
        (dir, cache)
    }

    fn peer(number: u8, age: Duration) -> Remembered {
        let address = format!("/ip4/192.0.2.{number}/tcp/4001").parse().unwrap();
        Remembered { peer: NodeKey([number; 32]), addresses: vec![address], age }
    }

    #[test]
    fn peers_read_back_and_grow_older() {
        let (_dir, cache) = cache();
        cache.store(NOW, &[peer(1, Duration::ZERO), peer(2, Duration::from_secs(5))]).unwrap();
        let later = NOW + Duration::from_secs(60);
        let read = cache.load(later);
        assert_eq!(read, [peer(1, Duration::from_secs(60)), peer(2, Duration::from_secs(65))]);
        assert!(cache.load(NOW + CACHE_AGE_MAX + Duration::from_secs(6)).is_empty());
    }

    #[test]
    fn the_form_of_the_file_never_changes_by_itself() {
        let (_dir, cache) = cache();
        cache.store(NOW, &[peer(1, Duration::from_secs(1))]).unwrap();
        let content: serde_json::Value = serde_json::from_slice(&fs::read(&cache.path).unwrap()).unwrap();
        let row = serde_json::json!({
            "key": "01".repeat(32), "addresses": ["/ip4/192.0.2.1/tcp/4001"], "linked_ms": 1_799_999_999_000u64,
        });
        assert_eq!(content, serde_json::json!({ "format": 1, "network": "main", "peers": [row] }));
    }

    #[test]
    fn a_missing_damaged_or_other_cache_is_empty() {
        let (_dir, cache) = cache();
        assert!(cache.load(NOW).is_empty());
        for content in ["", "junk", "{\"format\":1}", "{\"format\":2,\"network\":\"main\",\"peers\":[]}"] {
            fs::write(&cache.path, content).unwrap();
            assert!(cache.load(NOW).is_empty(), "{content}");
        }
        cache.store(NOW, &[peer(1, Duration::ZERO)]).unwrap();
        let other = PeerCache { network: "other".to_owned(), ..cache };
        assert!(other.load(NOW).is_empty());
    }

    #[test]
    fn bad_rows_are_passed_over_and_the_rest_is_bounded() {
        let (_dir, cache) = cache();
        let good =
            Row { key: "01".repeat(32), addresses: vec!["/ip4/192.0.2.1/tcp/1".to_owned()], linked_ms: 0 };
        let bad_key = Row { key: "xyz".to_owned(), addresses: good.addresses.clone(), linked_ms: 0 };
        let bad_address =
            Row { key: "02".repeat(32), addresses: vec!["/ip4/0.0.0.0/tcp/1".to_owned()], linked_ms: 0 };
        let content =
            Content { format: FORMAT, network: "main".to_owned(), peers: vec![good, bad_key, bad_address] };
        fs::write(&cache.path, serde_json::to_vec(&content).unwrap()).unwrap();
        assert_eq!(cache.load(Duration::from_secs(1)).len(), 1);
        let many: Vec<Remembered> = (0..300).map(|_| peer(3, Duration::ZERO)).collect();
        cache.store(NOW, &many).unwrap();
        assert_eq!(cache.load(NOW).len(), CACHE_PEERS_MAX);
    }
}
