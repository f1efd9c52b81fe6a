//! Tokens of both kinds from the office to the check, over a real folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rstest::rstest;
use serde_json::json;

use super::test_kit::{World, changed, claims_of, forge, order};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn both_kinds_of_tokens_tell_account_and_scopes() {
    let world = World::new();
    for is_opaque in [false, true] {
        let issued = world.office.issue(&order(is_opaque)).unwrap();
        let caller = world.tokens.check(&issued.token).unwrap();
        assert_eq!((caller.account.as_str(), &caller.scopes), ("acme", &order(is_opaque).scopes));
    }
}

#[test]
fn a_jwt_ends_five_seconds_after_its_hour_and_begins_five_before() {
    let world = World::new();
    let token = world.office.issue(&order(false)).unwrap().token;
    let claims = claims_of(&token);
    let seconds = |name: &str| Duration::from_secs(claims[name].as_u64().unwrap());
    let (begin, end) = (seconds("nbf"), seconds("exp"));
    assert_eq!(end - begin, HOUR);
    let (leeway, instant) = (Duration::from_secs(5), Duration::from_millis(1));
    let check = |now| world.tokens.check_at(&token, now).map(|_| ());
    assert_eq!(check(begin - leeway - instant), Err(Error::NotYet));
    assert_eq!(check(begin - leeway), Ok(()));
    assert_eq!(check(end + leeway - instant), Ok(()));
    assert_eq!(check(end + leeway), Err(Error::Expired));
}

#[test]
fn an_opaque_key_lives_as_long_as_it_was_given() {
    let world = World::new();
    let endless = world.office.issue(&order(true)).unwrap();
    let an_hour = world.office.issue(&Order { life: Some(HOUR), ..order(true) }).unwrap();
    let end = Duration::from_secs(an_hour.record.expires.unwrap());
    assert!(world.tokens.check_at(&an_hour.token, end - Duration::from_millis(1)).is_ok());
    assert_eq!(world.tokens.check_at(&an_hour.token, end), Err(Error::Expired));
    assert!(world.tokens.check_at(&endless.token, end * 100).is_ok());
}

#[test]
fn a_revoked_token_is_refused_at_once_and_after_a_restart() {
    let world = World::new();
    for is_opaque in [false, true] {
        let issued = world.office.issue(&order(is_opaque)).unwrap();
        world.tokens.check(&issued.token).unwrap();
        let first = world.office.revoke(&issued.record.id).unwrap();
        assert_eq!(world.tokens.check(&issued.token), Err(Error::Revoked));
        assert_eq!(world.office.revoke(&issued.record.id).unwrap(), first, "again is no fault");
        let (_, members) = watch::channel(Arc::default());
        let network = "test".parse().unwrap();
        let again =
            Tokens::start(world.folder.path(), &world.identity, &network, members, &Config::default());
        assert_eq!(again.unwrap().check(&issued.token), Err(Error::Revoked));
    }
    for unknown in ["", "../node", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"] {
        assert!(matches!(world.office.revoke(unknown), Err(OfficeError::NotFound(_))), "{unknown}");
    }
}

#[test]
fn a_token_without_its_record_is_refused() {
    let world = World::new();
    for is_opaque in [false, true] {
        let issued = world.office.issue(&order(is_opaque)).unwrap();
        fs::remove_file(world.folder.path().join(format!("tokens/{}.json", issued.record.id))).unwrap();
        assert_eq!(world.tokens.check(&issued.token), Err(Error::Unknown));
    }
}

#[test]
fn a_damaged_record_refuses_its_token_and_is_named() {
    let world = World::new();
    let issued = world.office.issue(&order(true)).unwrap();
    let good = world.office.issue(&order(true)).unwrap();
    let path = world.folder.path().join(format!("tokens/{}.json", issued.record.id));
    let text = fs::read_to_string(&path).unwrap();
    for damaged in [
        "",
        "{",
        &text[..text.len() / 2],
        &text.replace("\"format\":1", "\"format\":2"),
        &text.replace(&issued.record.id, &good.record.id),
    ] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(world.tokens.check(&issued.token), Err(Error::Unreadable(_))), "{damaged}");
        let (records, unreadable) = world.office.list().unwrap();
        assert_eq!((records.len(), unreadable.len()), (1, 1));
        assert!(unreadable[0].to_string().contains(&issued.record.id), "{}", unreadable[0]);
    }
}

#[test]
fn a_record_is_of_one_key_alone() {
    let world = World::new();
    let [one, two] = [(); 2].map(|()| world.office.issue(&order(true)).unwrap());
    let path = |id: &str| world.folder.path().join(format!("tokens/{id}.json"));
    let records = [&one, &two].map(|issued| fs::read_to_string(path(&issued.record.id)).unwrap());
    for (name, record) in [
        ("with the hash of another", records[1].replace(&two.record.id, &one.record.id)),
        ("of another kind", records[0].replace("\"opaque\"", "\"jwt\"")),
        ("without a hash", records[0].replace("key_hash", "hash_of_a_key")),
        ("with a spoilt hash", records[0].replace("key_hash\":\"", "key_hash\":\"x")),
    ] {
        fs::write(path(&one.record.id), record).unwrap();
        assert_eq!(world.tokens.check(&one.token), Err(Error::Unknown), "{name}");
    }
}

#[test]
fn nothing_secret_is_kept_or_shown() {
    let world = World::new();
    for is_opaque in [false, true] {
        let issued = world.office.issue(&order(is_opaque)).unwrap();
        // The end of a token is its signature, or a part of the key.
        let secret = issued.token[issued.token.len() - 40..].to_owned();
        let shown = format!("{issued:?} {:?} {:?}", world.tokens, world.office.list().unwrap());
        assert!(!shown.contains(&secret), "{shown}");
        for file in fs::read_dir(world.folder.path().join("tokens")).unwrap() {
            let path = file.unwrap().path();
            assert!(!fs::read_to_string(&path).unwrap().contains(&secret));
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
        let broken = format!("{}x", issued.token);
        assert!(!world.tokens.check(&broken).unwrap_err().to_string().contains(&secret));
    }
    let folder = fs::metadata(world.folder.path().join("tokens")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}

#[test]
fn tokens_are_listed_oldest_first_with_what_is_known_of_them() {
    let world = World::new();
    let jwt = world.office.issue(&order(false)).unwrap().record;
    let opaque = world.office.issue(&order(true)).unwrap().record;
    let foreign = world.office.refuse_foreign("https://login.example/", "../../7").unwrap();
    let (records, damaged) = world.office.list().unwrap();
    assert!(damaged.is_empty());
    assert_eq!(records.len(), 3);
    for record in [&jwt, &opaque, &foreign] {
        assert!(records.contains(record), "{record:?}");
    }
    assert_eq!((jwt.kind, opaque.kind, foreign.kind), (Kind::Jwt, Kind::Opaque, Kind::Foreign));
    assert!(jwt.expires.is_some() && opaque.expires.is_none() && foreign.revoked.is_some());
}

#[test]
fn records_of_tokens_that_ended_long_ago_are_forgotten() {
    let world = World::new();
    let issue = |is_opaque, life| world.office.issue(&Order { life, ..order(is_opaque) }).unwrap();
    let (old, key) = (issue(false, None), issue(true, Some(HOUR)));
    let (young, endless) = (issue(true, Some(HOUR)), issue(true, None));
    let foreign = world.office.refuse_foreign("https://other", "7").unwrap();
    world.office.revoke(&endless.record.id).unwrap();
    let now = clock::now().as_secs();
    for (issued, end) in [(&old, 1_000), (&key, 1_000), (&young, now - 29 * 86_400)] {
        let path = world.folder.path().join(format!("tokens/{}.json", issued.record.id));
        let record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::write(&path, changed(&record, "expires", Some(json!(end))).to_string()).unwrap();
    }
    assert_eq!(world.tokens.check(&key.token), Err(Error::Expired));
    let new = issue(false, None).record;
    let ids: BTreeSet<String> = world.office.list().unwrap().0.into_iter().map(|record| record.id).collect();
    assert_eq!(ids, BTreeSet::from([young.record.id, endless.record.id, foreign.id, new.id]));
    assert_eq!(world.tokens.check(&key.token), Err(Error::Unknown), "it is refused all the same");
    assert_eq!(world.tokens.check(&young.token), Err(Error::Expired));
    assert_eq!(world.tokens.check(&endless.token), Err(Error::Revoked));
}

#[test]
fn orders_that_nobody_could_use_are_refused() {
    let world = World::new();
    let scopes = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<BTreeSet<_>>();
    let many: BTreeSet<String> = (0..65).map(|n| n.to_string()).collect();
    let long: BTreeSet<String> = (0..40).map(|n| format!("{n:0250}")).collect();
    for (name, wrong) in [
        ("account", Order { account: "a/b".to_owned(), ..order(false) }),
        ("no scope", Order { scopes: BTreeSet::new(), ..order(false) }),
        ("space", Order { scopes: scopes(&["a b"]), ..order(false) }),
        ("empty", Order { scopes: scopes(&[""]), ..order(false) }),
        ("many", Order { scopes: many, ..order(true) }),
        ("long", Order { scopes: long, ..order(false) }),
        ("no life", Order { life: Some(Duration::ZERO), ..order(true) }),
        ("a long life", Order { life: Some(HOUR * 24 * 367), ..order(false) }),
        ("no end of life", Order { life: Some(Duration::MAX), ..order(true) }),
    ] {
        assert!(world.office.issue(&wrong).is_err(), "{name}");
    }
    assert!(world.office.list().unwrap().0.is_empty());
    assert!(matches!(Office::open(&world.folder.path().join("x"), None), Err(OfficeError::NoNode(_))));
}

#[test]
fn tokens_are_for_the_federation_that_the_node_is_in() {
    let world = World::new();
    let token = world.office.issue(&order(false)).unwrap().token;
    assert_eq!(claims_of(&token)["aud"], "test");
    let other = Office::open(world.folder.path(), Some("lab".parse().unwrap())).unwrap();
    let token = other.issue(&order(false)).unwrap().token;
    assert_eq!(world.tokens.check(&token), Err(Error::WrongAudience));
}

#[test]
fn a_peer_is_believed_only_if_it_is_trusted() {
    let peer = World::new();
    let token = peer.office.issue(&order(false)).unwrap().token;
    let key = peer.identity.node_key();
    let by_id = Config { trusted_issuers: vec![Trusted::Database(key.assets_db_id())], ..Config::default() };
    let by_key = Config { trusted_issuers: vec![Trusted::Key(key)], ..Config::default() };
    let known = [&peer.identity];
    for (config, members, is_believed) in [
        (Config::default(), &known[..], false),
        (by_key.clone(), &[], true),
        (by_id.clone(), &known, true),
        // Until the registry gives its key, nothing of it can be checked.
        (by_id.clone(), &[], false),
    ] {
        let world = World::with(&config, members);
        let expected = if is_believed { Ok("acme".to_owned()) } else { Err(Error::UnknownIssuer) };
        assert_eq!(world.tokens.check(&token).map(|caller| caller.account), expected, "{config:?}");
        assert_eq!(world.tokens.trusts_node(&key), config != Config::default());
        assert!(world.tokens.trusts_node(&world.identity.node_key()));
    }
    // What a peer keeps opaque, nobody else can check.
    let opaque = peer.office.issue(&order(true)).unwrap().token;
    assert_eq!(World::with(&by_key, &[]).tokens.check(&opaque), Err(Error::Unknown));
}

#[test]
fn a_token_of_a_peer_can_be_refused_here_by_its_id() {
    let peer = World::new();
    let config =
        Config { trusted_issuers: vec![Trusted::Key(peer.identity.node_key())], ..Config::default() };
    let world = World::with(&config, &[]);
    let issued = [(); 2].map(|()| peer.office.issue(&order(false)).unwrap());
    let issuer = peer.identity.assets_db_id().to_string();
    world.office.refuse_foreign(&issuer, &issued[0].record.id).unwrap();
    world.office.refuse_foreign("another", &issued[1].record.id).unwrap();
    assert_eq!(world.tokens.check(&issued[0].token), Err(Error::Revoked));
    assert!(world.tokens.check(&issued[1].token).is_ok());
    assert!(peer.tokens.check(&issued[0].token).is_ok(), "the issuer was not told");
}

#[test]
fn a_trusted_peer_cannot_speak_in_the_name_of_others() {
    let (peer, third) = (World::new(), World::new());
    let trusted = [&peer, &third].map(|world| Trusted::Key(world.identity.node_key()));
    let world = World::with(&Config { trusted_issuers: trusted.to_vec(), ..Config::default() }, &[]);
    for other in [&world, &third] {
        let issuer = other.identity.assets_db_id().to_string();
        let claims = changed(&other.claims(), "iss", Some(json!(issuer)));
        for header in [peer.header(), other.header()] {
            let token = forge(&header.to_string(), &claims.to_string(), |m| peer.identity.sign(m));
            let refused = world.tokens.check(&token).unwrap_err();
            assert!(matches!(refused, Error::UnknownIssuer | Error::BadSignature), "{refused}");
        }
    }
}

#[rstest]
#[case(&["assets:read"], [true, false, false, false, false])]
#[case(&["assets:write"], [true, true, false, false, false])]
#[case(&["registry:write"], [true, false, true, false, false])]
#[case(&["admin"], [true, true, true, true, true])]
#[case(&["invoke_function"], [false, false, false, false, true])]
#[case(&["Admin", "assets:*", "*", "assets", "admin ", "robots:wave"], [false; 5])]
#[case(&[], [false; 5])]
fn a_scope_grants_itself_and_what_it_includes(#[case] scopes: &[&str], #[case] grants: [bool; 5]) {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let caller = Caller { account: "a".to_owned(), scopes };
    assert_eq!(SCOPES.map(|scope| caller.may(scope)), grants);
}

#[rstest]
#[case("6ba7b810-9dad-81d1-80b4-00c04fd430c8", true)]
#[case("a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", true)]
#[case("6ba7b810-9dad-41d1-80b4-00c04fd430c8", false)]
#[case("6ba7b8109dad81d180b400c04fd430c8", false)]
#[case("node-7", false)]
#[case("", false)]
fn an_issuer_is_named_by_database_or_key(#[case] text: &str, #[case] fits: bool) {
    assert_eq!(text.parse::<Trusted>().is_ok(), fits);
}
