//! Tests of `registry`: what is refused, what survives, and the golden bytes of every message.

use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::codec;
use crate::document::Document;
use crate::ids::NodeKey;
use crate::network::{NetworkId, NetworkName};

const NOW: u64 = 1_790_000_000_000;

fn network(name: &str) -> NetworkId {
    NetworkId::new(&name.parse().unwrap(), None)
}

fn owner(seed: u8) -> OwnerKey {
    OwnerKey::new(&[seed; 32], NetworkId::new(&NetworkName::default(), None))
}

fn verifier() -> Verifier {
    Verifier::new(NetworkId::new(&NetworkName::default(), None))
}

fn id(text: &str) -> EntryId {
    EntryId::new(text).unwrap()
}

fn entry() -> RegistryEntry {
    RegistryEntry {
        created_ms: NOW,
        name: "ResNet".to_owned(),
        metadata: Document::from_json(br#"{"framework":"PyTorch"}"#).unwrap(),
        tags: vec!["vision".to_owned()],
        public_url: "http://example.com".to_owned(),
    }
}

fn node_record() -> NodeRecord {
    NodeRecord {
        created_ms: NOW,
        name: "n1".to_owned(),
        labels: vec!["gpu".to_owned()],
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        public_url: "http://127.0.0.1:4000".to_owned(),
        version: "0.1.0".to_owned(),
        capabilities: vec!["query".to_owned()],
        summary_version: 2,
        incarnation: 3,
    }
}

fn record(entry_id: &str, payload: Payload) -> Record {
    Record {
        owner: owner(1).node_key(),
        entry: id(entry_id),
        version: Version { epoch: 1, seq: NOW },
        issued_ms: NOW,
        ttl_ms: 1000,
        payload,
    }
}

fn signed(payload: Payload) -> Verified {
    owner(1).sign(&record("own-1", payload)).unwrap()
}

#[test]
fn a_signed_record_is_verified_and_reads_back() {
    for payload in [Payload::Entry(entry()), Payload::Tombstone] {
        let made = signed(payload.clone());
        let read = verifier().verify_bytes(&made.envelope().encode()).unwrap();
        assert_eq!((read.payload(), read.is_deleted()), (payload.clone(), payload.is_tombstone()));
        assert_eq!((read.owner(), read.entry()), (owner(1).node_key(), &id("own-1")));
        assert_eq!((read.issued_ms(), read.expires_ms()), (NOW, NOW + 1000));
        assert_eq!((read.key(), read.hash()), (made.key(), made.hash()));
        assert_eq!(read, made);
    }
    let own = EntryId::of_node(&owner(1).node_key());
    let node = Record { entry: own, ..record("x", Payload::Node(node_record())) };
    assert!(owner(1).sign(&node).unwrap().is_node());
}

#[test]
fn no_changed_bit_is_accepted() {
    let bytes = signed(Payload::Entry(entry())).envelope().encode();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(verifier().verify_bytes(&forged).is_err(), "bit {bit}");
    }
}

#[test]
fn what_another_network_or_another_key_signed_is_refused() {
    let envelope = signed(Payload::Tombstone).envelope().clone();
    let closed = NetworkId::new(&NetworkName::default(), Some(&[1; 32]));
    for other in [network("other"), closed] {
        assert!(matches!(Verifier::new(other).verify(envelope.clone()), Err(EnvelopeError::Signature)));
    }
    // Signed by node 2, but it names node 1.
    let theirs = owner(2).sign(&record("own-1", Payload::Tombstone)).unwrap();
    let forged = Envelope { body: envelope.body, signature: theirs.envelope().signature };
    assert!(matches!(verifier().verify(forged), Err(EnvelopeError::Signature)));
}

#[test]
fn a_weak_key_signs_nothing() {
    // The neutral element: every message has a valid signature under a lenient check (RFC 8032, 8.9).
    let mut envelope = signed(Payload::Tombstone).envelope().clone();
    envelope.body[1..33].copy_from_slice(&[&[1][..], &[0; 31]].concat());
    envelope.signature = [0; 64];
    envelope.signature[0] = 1;
    assert!(matches!(verifier().verify(envelope), Err(EnvelopeError::Signature)));
}

#[test]
fn bytes_of_any_length_and_claim_are_refused_without_harm() {
    let bytes = signed(Payload::Entry(entry())).envelope().encode();
    for length in 0..bytes.len() {
        assert!(verifier().verify_bytes(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(verifier().verify_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let huge = vec![codec::VERSION; ENVELOPE_BYTES_MAX + 1];
    assert!(matches!(verifier().verify_bytes(&huge), Err(EnvelopeError::TooLong(_))));
    let mut claims = vec![codec::VERSION];
    claims.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(verifier().verify_bytes(&claims), Err(EnvelopeError::Malformed(_))));
}

#[test]
fn the_largest_entry_fits_and_one_byte_more_does_not() {
    let sized = |bytes| Payload::Unknown { kind: 77, bytes: vec![7; bytes] };
    let long_id = "i".repeat(EntryId::BYTES_MAX);
    let largest = owner(1).sign(&record(&long_id, sized(PAYLOAD_BYTES_MAX))).unwrap();
    let bytes = largest.envelope().encode();
    assert!(bytes.len() <= ENVELOPE_BYTES_MAX);
    assert!(verifier().verify_bytes(&bytes).is_ok());
    let error = owner(1).sign(&record("a", sized(PAYLOAD_BYTES_MAX + 1))).unwrap_err();
    assert!(matches!(error, EnvelopeError::Payload(PayloadError::TooLong(_))));
}

/// The body's fields as a test can write them, allowed or not.
type Raw<'a> = (NodeKey, &'a str, Version, (u64, u64), bool, u16, Vec<u8>);

fn raw_signed(raw: &Raw<'_>, appended: &[u8]) -> Envelope {
    use ed25519_dalek::Signer;
    let body = [codec::encode(raw).unwrap(), appended.to_vec()].concat();
    let network = NetworkId::new(&NetworkName::default(), None);
    let message = [b"assetmesh registry envelope 1\n".as_slice(), network.as_bytes(), &body].concat();
    let signature = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).sign(&message).to_bytes();
    Envelope { body, signature }
}

fn raw<'a>(entry_id: &'a str, deleted: bool, kind: u16, payload: Vec<u8>) -> Raw<'a> {
    (owner(1).node_key(), entry_id, Version { epoch: 1, seq: NOW }, (NOW, 1000), deleted, kind, payload)
}

#[rstest]
#[case::a_tombstone_that_says_something(raw("a", true, 0, vec![1]))]
#[case::an_entry_that_is_none(raw("a", false, 2, vec![1, 2, 3]))]
#[case::a_node_that_is_none(raw("a", false, 1, vec![9]))]
#[case::a_node_under_another_id(raw("a", false, 1, codec::encode(&node_record()).unwrap()))]
#[case::an_empty_id(raw("", true, 0, Vec::new()))]
#[case::an_id_with_a_newline(raw("a\nb", true, 0, Vec::new()))]
#[case::the_id_of_some_node(raw("f81d4fae-7dec-81d0-a765-00a0c91e6bf6", true, 0, Vec::new()))]
#[case::the_id_of_some_node_in_capitals(raw("F81D4FAE-7DEC-81D0-A765-00A0C91E6BF6", true, 0, Vec::new()))]
#[case::the_id_of_some_node_without_hyphens(raw("f81d4fae7dec81d0a76500a0c91e6bf6", true, 0, Vec::new()))]
#[case::metadata_that_is_not_json(raw("a", false, 2, codec::encode(&(
    NOW, "n".to_owned(), "{".to_owned(), Vec::<String>::new(), String::new())).unwrap()))]
fn a_well_signed_body_that_no_honest_node_makes_is_refused(#[case] raw: Raw<'_>) {
    let envelope = raw_signed(&raw, &[]);
    assert!(verifier().verify(envelope).is_err());
}

#[test]
fn a_life_has_an_end() {
    for ttl_ms in [0, TTL_MS_MAX + 1, u64::MAX] {
        let mut raw = raw("a", true, 0, Vec::new());
        raw.3 = (NOW, ttl_ms);
        assert!(matches!(verifier().verify(raw_signed(&raw, &[])), Err(EnvelopeError::Ttl(_))));
    }
}

#[test]
fn what_a_later_version_says_is_kept_and_handed_on() {
    let envelope = raw_signed(&raw("a", false, 9, b"later".to_vec()), b"more fields");
    let read = verifier().verify(envelope.clone()).unwrap();
    assert_eq!(read.payload(), Payload::Unknown { kind: 9, bytes: b"later".to_vec() });
    assert_eq!((read.document(), read.created_ms()), (None, None));
    assert_eq!(read.envelope(), &envelope);
    let node = [codec::encode(&node_record()).unwrap(), b"new".to_vec()].concat();
    let own = EntryId::of_node(&owner(1).node_key());
    let read = verifier().verify(raw_signed(&raw(own.as_str(), false, 1, node), &[])).unwrap();
    assert_eq!(read.payload(), Payload::Node(node_record()));
}

#[test]
fn entries_of_one_id_lie_side_by_side() {
    let keys = [1, 2].map(|seed| RecordKey::of(&owner(seed).node_key(), &id("own-1")));
    let (first, last) = RecordKey::range_of(&id("own-1"));
    assert!(keys.iter().all(|key| (first..=last).contains(key)));
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[0].bucket(), keys[1].bucket());
    let other = RecordKey::of(&owner(1).node_key(), &id("own-2"));
    assert!(!(first..=last).contains(&other));
}

#[test]
fn an_entry_shows_its_five_members_in_their_order() {
    let shown = signed(Payload::Entry(entry())).document().unwrap().to_json();
    let expected = concat!(
        r#"{"asset_registry_id":"own-1","asset_registry_name":"ResNet","#,
        r#""asset_registry_metadata":{"framework":"PyTorch"},"asset_registry_tags":["vision"],"#,
        r#""asset_registry_public_url":"http://example.com"}"#
    );
    assert_eq!(shown, expected);
    let own = EntryId::of_node(&owner(1).node_key());
    let shown = node_record().document(&own).to_value();
    assert_eq!(shown["asset_registry_id"], json!(own.as_str()));
    assert_eq!(shown["asset_registry_tags"], json!(["gpu"]));
    assert_eq!(shown["asset_registry_metadata"]["version"], json!("0.1.0"));
}

fn document(value: &serde_json::Value) -> Document {
    Document::from_value(value).unwrap()
}

#[test]
fn a_draft_has_defaults_and_an_id_only_if_the_caller_gave_one() {
    let draft = Draft::parse(&document(&json!({}))).unwrap();
    assert_eq!((draft.id, draft.entry.name.as_str()), (None, ""));
    assert_eq!(draft.entry.metadata.to_json(), "{}");
    for blank in [json!(null), json!("")] {
        let body = json!({"asset_registry_id": blank, "asset_registry_tags": null});
        assert_eq!(Draft::parse(&document(&body)).unwrap().id, None);
    }
    let draft = Draft::parse(&document(&json!({"asset_registry_id": "own-1"}))).unwrap();
    assert_eq!(draft.id, Some(id("own-1")));
}

#[rstest]
#[case(json!([]), "wrong_type", "object")]
#[case(json!({"extra": 1}), "unknown_member", "`extra`")]
#[case(json!({"asset_registry_id": 5}), "wrong_type", "asset_registry_id")]
#[case(json!({"asset_registry_id": "x".repeat(129)}), "bad_id", "129")]
#[case(json!({"asset_registry_id": "a\u{0}b"}), "bad_id", "U+0000")]
#[case(json!({"asset_registry_name": [1]}), "wrong_type", "asset_registry_name")]
#[case(json!({"asset_registry_tags": "x"}), "wrong_type", "array of strings")]
#[case(json!({"asset_registry_tags": [1]}), "wrong_type", "array of strings")]
#[case(json!({"asset_registry_public_url": 5}), "wrong_type", "asset_registry_public_url")]
fn a_bad_draft_is_told_what_is_wrong(
    #[case] body: serde_json::Value,
    #[case] code: &str,
    #[case] named: &str,
) {
    let error = Draft::parse(&document(&body)).unwrap_err();
    assert_eq!(error.code(), code);
    assert!(error.to_string().contains(named), "{error}");
}

#[test]
fn a_patch_sets_members_and_paths() {
    let patch = json!({"asset_registry_metadata.author": "x", "asset_registry_tags": ["a", "b"]});
    let patch = Patch::parse(&document(&patch)).unwrap();
    assert_eq!(Patch::from_json(&patch.to_json()).unwrap(), patch);
    let after = patch.apply(&id("own-1"), &entry()).unwrap();
    assert_eq!(after.metadata.to_json(), r#"{"framework":"PyTorch","author":"x"}"#);
    assert_eq!((after.tags.len(), after.created_ms), (2, NOW));
}

#[rstest]
#[case(json!({"asset_registry_id": "x"}), "read_only")]
#[case(json!({"nothing": 1}), "unknown_member")]
#[case(json!({"asset_registry_metadata": {}, "asset_registry_metadata.a": 1}), "bad_path")]
#[case(json!({"asset_registry_name.x": 1}), "bad_path")]
#[case(json!({"asset_registry_metadata.": 1}), "bad_path")]
#[case(json!({"asset_registry_tags.0": 7}), "wrong_type")]
#[case(json!({"asset_registry_name": 7}), "wrong_type")]
fn a_bad_patch_is_told_what_is_wrong(#[case] body: serde_json::Value, #[case] code: &str) {
    let applied = Patch::parse(&document(&body)).and_then(|patch| patch.apply(&id("own-1"), &entry()));
    assert_eq!(applied.unwrap_err().code(), code);
}

#[test]
fn an_id_is_short_and_printable_text() {
    assert!(matches!(EntryId::new(""), Err(EntryIdError::Length { bytes: 0, .. })));
    assert!(EntryId::new("x".repeat(128)).is_ok());
    assert!(EntryId::new("größe/ü 1").is_ok());
    assert!(EntryId::of_uuid(Uuid::nil()).check_owner(&owner(1).node_key()).is_ok());
    let own = EntryId::of_node(&owner(1).node_key());
    assert!(own.check_owner(&owner(1).node_key()).is_ok());
    assert_eq!(own.check_owner(&owner(2).node_key()), Err(EntryIdError::Reserved));
}

/// The first 16 bytes of a hash stand for long messages; short ones are written out.
fn golden(bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes).to_hex();
    format!("{} bytes {}", bytes.len(), &hash[..32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes_of_a_tombstone() {
    let envelope = signed(Payload::Tombstone).envelope().clone();
    assert_eq!(
        hex(&envelope.body),
        "018a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c05000000000000006f776e2d310100000000000000006c50c4a0010000006c50c4a0010000e8030000000000000100000000000000000000"
    );
    assert_eq!(
        hex(&envelope.signature),
        "69726cfb513c8e4e01e793ed46cec9b1b808fed3dc2884f31e2585594d81a70514b7e3398e085326234361cd23c9e5d798a147d75a0a71fade7c4672b241230c"
    );
    assert_eq!(golden(&envelope.encode()), "162 bytes 46806ec68e4985c82eb422f70c42ea40");
}

#[test]
fn golden_bytes_of_payloads() {
    let own = EntryId::of_node(&owner(1).node_key());
    let node = Record { entry: own, ..record("x", Payload::Node(node_record())) };
    assert_eq!(
        golden(&owner(1).sign(&node).unwrap().envelope().encode()),
        "349 bytes e1032de259579d92f1df4d01e78d9308"
    );
    assert_eq!(
        golden(&signed(Payload::Entry(entry())).envelope().encode()),
        "264 bytes 20a55311f6d34b7c8eee3511ee3eccfc"
    );
    assert_eq!(hex(&signed(Payload::Tombstone).key().0), "88be6a34c17df6897f7106f7695d66ea");
}

#[test]
fn golden_bytes_of_anti_entropy() {
    let key = RecordKey([7; 16]);
    let fingerprints = (0..BUCKETS as u128).collect();
    let compare = SyncAsk::<Envelope>::Compare { fingerprints, from: key };
    let give = vec![signed(Payload::Tombstone).envelope().clone()];
    let exchange = SyncAsk::Exchange { want: vec![key], give: give.clone() };
    let stamp = Stamp { key, version: Version { epoch: 1, seq: 2 }, hash: 3 };
    let buckets = vec![BucketStamps { bucket: 7, stamps: vec![stamp] }];
    let stamps = SyncAnswer::Stamps { buckets, next: Some(key) };
    let envelopes = SyncAnswer::Envelopes { envelopes: give, taken: 4 };
    let asks = [&compare, &exchange].map(|ask| golden(&ask.encode().unwrap()));
    assert_eq!(
        asks,
        ["4125 bytes d3b495e3fed5e10e64b631b582c3e6f5", "198 bytes c5ead3fe089df3eaaa59bf4a8abde210"]
    );
    assert_eq!(
        hex(&stamps.encode().unwrap()),
        "01000000000100000000000000070100000000000000070707070707070707070707070707070100000000000000020000000000000003000000000000000107070707070707070707070707070707"
    );
    assert_eq!(golden(&envelopes.encode().unwrap()), "178 bytes 5539462e1102f1af343c6620d4a4082e");
    assert_eq!(hex(&SyncAnswer::Busy.encode().unwrap()), "0102000000");
    for ask in [compare, exchange] {
        assert_eq!(SyncAsk::decode(&ask.encode().unwrap()).unwrap(), ask);
    }
    for answer in [stamps, envelopes, SyncAnswer::Busy] {
        assert_eq!(SyncAnswer::decode(&answer.encode().unwrap()).unwrap(), answer);
    }
}

#[test]
fn golden_bytes_of_forwarded_changes() {
    let update = ForwardAsk::new(&id("own-1"), ForwardedChange::Update("{}".to_owned()), [7; 16]);
    let delete = ForwardAsk::new(&id("own-1"), ForwardedChange::Delete, [7; 16]);
    let permit = ForwardAsk::new(&id("own-1"), ForwardedChange::Permit, [0; 16]);
    let done = ForwardAnswer::Done(signed(Payload::Tombstone).envelope().clone());
    let refused = |refusal| ForwardAnswer::Refused(refusal);
    assert_eq!(
        hex(&update.encode().unwrap()),
        "0105000000000000006f776e2d310000000002000000000000007b7d07070707070707070707070707070707"
    );
    assert_eq!(
        hex(&delete.encode().unwrap()),
        "0105000000000000006f776e2d310100000007070707070707070707070707070707"
    );
    assert_eq!(
        hex(&permit.encode().unwrap()),
        format!("0105000000000000006f776e2d3102000000{}", "00".repeat(16))
    );
    let given = ForwardAnswer::Permit([9; 16]).encode().unwrap();
    assert_eq!(hex(&given), format!("0102000000{}", "09".repeat(16)));
    assert_eq!(golden(&done.encode().unwrap()), "166 bytes 2e97f0e196a09ff384c779fce5a3abd9");
    let invalid = ForwardRefusal::Invalid { code: "c".to_owned(), message: "m".to_owned() };
    assert_eq!(
        hex(&refused(invalid).encode().unwrap()),
        "01010000000200000001000000000000006301000000000000006d"
    );
    let conflict = ForwardRefusal::Conflict { message: "m".to_owned() };
    assert_eq!(hex(&refused(conflict).encode().unwrap()), "01010000000800000001000000000000006d");
    let too_many = ForwardRefusal::TooMany { message: "m".to_owned() };
    assert_eq!(hex(&refused(too_many).encode().unwrap()), "01010000000900000001000000000000006d");
    let plain = [
        ForwardRefusal::NotFound,
        ForwardRefusal::Forbidden,
        ForwardRefusal::TooFast,
        ForwardRefusal::Full,
        ForwardRefusal::Busy,
        ForwardRefusal::Failed,
        ForwardRefusal::Late,
    ];
    let plain = plain.map(|refusal| hex(&refused(refusal).encode().unwrap()));
    let numbers = ["00", "01", "03", "04", "05", "06", "07"];
    assert_eq!(plain, numbers.map(|number| format!("0101000000{number}000000")));
    assert_eq!(ForwardAsk::decode(&delete.encode().unwrap()).unwrap().entry(), Some(id("own-1")));
    assert_eq!(ForwardAnswer::decode(&done.encode().unwrap()).unwrap(), done);
}
