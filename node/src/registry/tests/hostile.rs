//! Ten thousand of each kind of bad envelope: none is taken, none is passed on, and memory does not grow.

use assetmesh_protocol::network::NetworkId;
use assetmesh_protocol::registry::ENVELOPE_BYTES_MAX;

use super::test_kit::{DAY, HOUR, MINUTE, NOW, Peer, sign_at, signed};
use super::*;

const TIMES: u64 = 10_000;

/// What a peer sends, as its `n`th message.
type Attack = fn(&Attacker, u64) -> Vec<u8>;

struct Attacker {
    good: Vec<u8>,
    old: Vec<u8>,
    elsewhere: Vec<u8>,
    future: Vec<u8>,
    expired: Vec<u8>,
}

impl Attacker {
    fn new() -> Self {
        let bytes = |record: &Arc<Verified>| record.envelope().encode();
        let other = OwnerKey::new(&[9; 32], NetworkId::new(&"other".parse().unwrap(), None));
        let at = |issued_ms| sign_at(9, Record { issued_ms, ..blank(9, "b") });
        Self {
            good: bytes(&signed(9, "a", NOW + 9, "new")),
            old: bytes(&signed(9, "a", NOW, "old")),
            elsewhere: other.sign(&blank(9, "c")).unwrap().envelope().encode(),
            future: bytes(&at(NOW + HOUR)),
            expired: bytes(&at(NOW - 8 * DAY)),
        }
    }

    /// The good one with the `n`th of its bytes changed, never the same way twice.
    fn forged(&self, n: u64) -> Vec<u8> {
        let mut bytes = self.good.clone();
        let at = n as usize % (bytes.len() - 1) + 1;
        bytes[at] ^= 1 + (n / bytes.len() as u64) as u8;
        bytes
    }
}

#[test]
fn ten_thousand_of_each_kind_are_refused() {
    let attacker = Attacker::new();
    let verifier = Verifier::new(test_kit::network());
    let mut peer = Peer::new(1);
    let good = verifier.verify_bytes(&attacker.good).map(Arc::new).unwrap();
    assert_eq!(peer.gossip(NOW, &good), Taken::New);
    let before = (peer.state.map().digest(), peer.disk.len(), peer.published.len());
    let attacks: [(&str, Attack, Verdict); 6] = [
        ("forged", |attacker, n| attacker.forged(n), Verdict::Reject),
        ("replayed", |attacker, _| attacker.old.clone(), Verdict::Ignore),
        ("of another network", |attacker, _| attacker.elsewhere.clone(), Verdict::Reject),
        ("oversized", |_, n| vec![1; ENVELOPE_BYTES_MAX + 1 + n as usize % 50_000], Verdict::Reject),
        ("of the far future", |attacker, _| attacker.future.clone(), Verdict::Reject),
        ("expired", |attacker, _| attacker.expired.clone(), Verdict::Ignore),
    ];
    for (kind, attack, verdict) in attacks {
        for n in 0..TIMES {
            let judged = match verifier.verify_bytes(&attack(&attacker, n)) {
                Ok(record) => peer.gossip(NOW + MINUTE / 2, &Arc::new(record)).verdict(),
                Err(_) => Verdict::Reject,
            };
            assert_eq!(judged, verdict, "{kind} {n}");
            peer.others.truncate(1);
        }
        assert_eq!((peer.state.map().digest(), peer.disk.len(), peer.published.len()), before, "{kind}");
    }
}
