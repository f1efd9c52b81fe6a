//! Forms of messages: what reads back, what is refused, and the bytes that must never change.

use super::*;
use crate::network::NetworkName;

fn key(number: u8) -> NodeKey {
    NodeKey([number; 32])
}

fn signed(by: u8) -> Signed {
    Signed { by: key(by), signature: Signature([by; 64]) }
}

fn claim(standing: Standing, signers: &[u8]) -> Claim {
    Claim { target: key(1), incarnation: 7, standing, signed: signers.iter().copied().map(signed).collect() }
}

fn claims(claims: Vec<Claim>) -> Message {
    Message::Claims(claims.into_iter().map(Arc::new).collect())
}

fn proof() -> Proof {
    Proof { target: key(1), incarnation: 7, nonce: 9, signature: Signature([1; 64]) }
}

fn every_kind() -> Vec<Message> {
    let good = [(Standing::Alive, &[1][..]), (Standing::Suspect, &[2, 3]), (Standing::Down, &[2, 3, 4, 5])];
    vec![
        claims(good.into_iter().map(|(standing, signers)| claim(standing, signers)).collect()),
        Message::Digest { buckets: vec![3; BUCKETS], answer: true },
        Message::Doubt { target: key(1), incarnation: 7, standing: Standing::Down, nonce: 9 },
        Message::Ballot(claim(Standing::Suspect, &[2])),
        Message::Challenge { nonce: 9 },
        Message::Proof(proof()),
    ]
}

#[test]
fn every_message_reads_back() {
    assert_eq!(every_kind().len(), KINDS as usize);
    for (kind, message) in every_kind().into_iter().enumerate() {
        let bytes = message.to_bytes().unwrap();
        assert_eq!(usize::from(bytes[1]), kind);
        assert_eq!(Message::from_bytes(&bytes).unwrap(), message);
        for cut in 0..bytes.len() {
            assert!(Message::from_bytes(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
        }
        assert!(Message::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn claims_that_no_honest_node_makes_are_refused() {
    let bad = [
        claim(Standing::Alive, &[2]),
        claim(Standing::Alive, &[]),
        claim(Standing::Left, &[1, 2]),
        claim(Standing::Down, &[2]),
        claim(Standing::Down, &[2, 2]),
        claim(Standing::Suspect, &[1, 2]),
        claim(Standing::Suspect, &[2, 3, 4, 5, 6]),
    ];
    for claim in bad {
        let bytes = claims(vec![claim.clone()]).to_bytes().unwrap();
        assert!(Message::from_bytes(&bytes).is_err(), "{claim:?}");
    }
}

#[test]
fn messages_of_a_wrong_form_are_refused() {
    let doubt = Message::Doubt { target: key(1), incarnation: 7, standing: Standing::Alive, nonce: 9 };
    let bad = [
        Message::Digest { buckets: vec![0; BUCKETS - 1], answer: false },
        doubt,
        Message::Ballot(claim(Standing::Suspect, &[2, 3])),
        Message::Ballot(claim(Standing::Left, &[1])),
        claims(vec![claim(Standing::Alive, &[1]); CLAIMS_MAX + 1]),
    ];
    for message in bad {
        let bytes = message.to_bytes().unwrap();
        assert!(Message::from_bytes(&bytes).is_err(), "{message:?}");
    }
}

#[test]
fn the_fullest_message_fits_in_a_frame() {
    let full = claims(vec![claim(Standing::Down, &[2, 3, 4, 5]); CLAIMS_MAX]);
    let bytes = full.to_bytes().unwrap();
    assert_eq!(Message::from_bytes(&bytes).unwrap(), full);
}

#[test]
fn a_later_versions_message_is_told_from_a_broken_one() {
    let mut bytes = Message::Challenge { nonce: 1 }.to_bytes().unwrap();
    bytes[1] = 77;
    assert!(matches!(Message::from_bytes(&bytes), Err(MessageError::UnknownKind(77))));
    assert!(matches!(Message::from_bytes(&[]), Err(MessageError::Codec(_))));
}

#[test]
fn a_claimed_count_is_not_believed() {
    let mut bytes = vec![codec::VERSION, 0, 0, 0, 0];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(Message::from_bytes(&bytes), Err(MessageError::Codec(_))));
}

#[test]
fn a_later_life_overrides_and_within_one_life_the_worse_word_does() {
    let order = [
        (7, Standing::Alive),
        (7, Standing::Suspect),
        (7, Standing::Down),
        (7, Standing::Left),
        (8, Standing::Alive),
    ];
    assert!(order.is_sorted());
}

#[test]
fn statements_differ_in_every_part() {
    let (open, other) = (network("main"), network("other"));
    let statements = [
        Claim::statement(&open, &key(1), 7, Standing::Alive),
        Claim::statement(&other, &key(1), 7, Standing::Alive),
        Claim::statement(&open, &key(2), 7, Standing::Alive),
        Claim::statement(&open, &key(1), 8, Standing::Alive),
        Claim::statement(&open, &key(1), 7, Standing::Left),
        Proof::statement(&open, &key(1), 7, 3),
        Proof::statement(&open, &key(1), 7, 4),
    ];
    for (at, statement) in statements.iter().enumerate() {
        assert!(!statements[at + 1..].contains(statement), "{at}");
    }
}

fn network(name: &str) -> NetworkId {
    NetworkId::new(&name.parse::<NetworkName>().unwrap(), None)
}

#[test]
fn a_signature_holds_for_its_signer_and_statement_alone() {
    use ed25519_dalek::Signer;
    let secret = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let signer = NodeKey(secret.verifying_key().to_bytes());
    let signature = Signature(secret.sign(b"word").to_bytes());
    assert!(signature.is_of(&signer, b"word"));
    assert!(!signature.is_of(&signer, b"work"));
    assert!(!signature.is_of(&key(1), b"word"));
    assert!(!Signature([0xff; 64]).is_of(&signer, b"word"));
}

fn hash_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

#[test]
fn the_bytes_of_messages_and_statements_never_change() {
    let bytes: Vec<u8> = every_kind().iter().flat_map(|message| message.to_bytes().unwrap()).collect();
    assert_eq!(hash_of(&bytes), "a3bc43ccee5ca022");
    assert_eq!(hash_of(&Claim::statement(&network("main"), &key(1), 7, Standing::Down)), "b394967caac6e2cf");
    assert_eq!(hash_of(&Proof::statement(&network("main"), &key(1), 7, 9)), "66b9396744105309");
}
