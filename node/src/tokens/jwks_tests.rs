//! Issuers outside of the federation: each kind of key, files that are refused, and files that change.

use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey};
use rstest::rstest;
use serde_json::{Value, json};

use super::test_keys::{P256_SECRET, P256_X, P256_Y, RSA_N, RSA_SECRET};
use super::test_kit::{World, changed, encode, forge};
use super::*;

const ISSUER: &str = "https://login.example/";

fn keys(ed25519: &Identity) -> Value {
    json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(ed25519.node_key().as_bytes())},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig", "x": P256_X, "y": P256_Y},
        {"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": RSA_N, "e": "AQAB", "x5c": ["MIIB"]},
        {"kty": "RSA", "kid": "sealed", "alg": "RSA-OAEP", "use": "enc", "n": RSA_N, "e": "AQAB"},
    ]})
}

/// A world that accepts the tokens of a login service whose keys lie in a file.
fn world(text: &str) -> (World, std::path::PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("login.jwks");
    fs::write(&path, text).unwrap();
    (World::with(&config(&path), &[]), path, folder)
}

fn config(jwks_file: &Path) -> Config {
    let outside = Outside {
        issuer: ISSUER.to_owned(),
        audience: "assetmesh".to_owned(),
        jwks_file: jwks_file.to_owned(),
    };
    Config { outside: vec![outside], ..Config::default() }
}

fn claims() -> Value {
    let now = clock::now().as_secs();
    json!({"iss": ISSUER, "aud": ["assetmesh", "other"], "sub": "auth0|7", "scopes": ["invoke_function"],
        "exp": now + 600, "nbf": now, "iat": now})
}

fn decode(text: &str) -> Vec<u8> {
    base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text).unwrap()
}

fn sign(message: &[u8], algorithm: Algorithm, identity: &Identity) -> Vec<u8> {
    let key = match algorithm {
        Algorithm::EdDSA => return identity.sign(message),
        Algorithm::ES256 => EncodingKey::from_ec_der(&decode(P256_SECRET)),
        _ => EncodingKey::from_rsa_der(&decode(RSA_SECRET)),
    };
    decode(&jsonwebtoken::crypto::sign(message, &key, algorithm).unwrap())
}

const KEYS: [(&str, &str, Algorithm); 3] = [
    ("ed", "EdDSA", Algorithm::EdDSA),
    ("ec", "ES256", Algorithm::ES256),
    ("rsa", "RS256", Algorithm::RS256),
];

#[test]
fn each_kind_of_key_signs_by_its_own_algorithm_only() {
    let login = World::new().identity;
    let (world, ..) = world(&keys(&login).to_string());
    for (_, name, algorithm) in KEYS {
        for (kid, own, _) in KEYS {
            for told in ["EdDSA", "ES256", "RS256"] {
                let header = json!({"alg": told, "kid": kid}).to_string();
                let token = forge(&header, &claims().to_string(), |m| sign(m, algorithm, &login));
                let checked = world.tokens.check(&token);
                assert_eq!(checked.is_ok(), own == name && told == name, "{kid} {told} {name}: {checked:?}");
            }
        }
    }
    let strong = json!({"alg": "RS512", "kid": "rsa"}).to_string();
    let token = forge(&strong, &claims().to_string(), |m| sign(m, Algorithm::RS512, &login));
    assert!(world.tokens.check(&token).is_err());
    let sealed = json!({"alg": "RS256", "kid": "sealed"}).to_string();
    let token = forge(&sealed, &claims().to_string(), |m| sign(m, Algorithm::RS256, &login));
    assert_eq!(world.tokens.check(&token), Err(Error::UnknownIssuer));
}

#[test]
fn an_outside_issuer_speaks_only_for_itself() {
    let login = World::new().identity;
    let (world, ..) = world(&keys(&login).to_string());
    let header = json!({"alg": "EdDSA", "kid": "ed"}).to_string();
    let check = |claims: &Value| world.tokens.check(&forge(&header, &claims.to_string(), |m| login.sign(m)));
    assert_eq!(check(&claims()).unwrap().account, "auth0|7");
    let own = world.identity.assets_db_id().to_string();
    for (name, value, error) in [
        ("iss", json!(own), Error::UnknownIssuer),
        ("iss", json!("https://login.example"), Error::UnknownIssuer),
        ("aud", json!("test"), Error::WrongAudience),
        ("aud", json!(["other"]), Error::WrongAudience),
    ] {
        assert_eq!(check(&changed(&claims(), name, Some(value))), Err(error));
    }
    let refused = changed(&claims(), "jti", Some(json!("../7")));
    assert!(check(&refused).is_ok());
    world.office.refuse_foreign(ISSUER, "../7").unwrap();
    assert_eq!(check(&refused), Err(Error::Revoked));
    assert!(!world.tokens.trusts_node(&login.node_key()), "who signs tokens is no peer");
}

#[rstest]
#[case("", "not a JSON object")]
#[case("[]", "not a JSON object")]
#[case(r#"{"keys":[],"keys":[]}"#, "duplicate")]
#[case("{}", "no list `keys`")]
#[case(r#"{"keys":[]}"#, "no key for signatures")]
#[case(r#"{"keys":[7]}"#, "key 1 is no object")]
#[case(r#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA","alg":"HS256"}]}"#, "secret")]
#[case(r#"{"keys":[{"kty":"oct","kid":"a","alg":"HS256"}]}"#, "of a kind that is not used")]
#[case(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#, "32 bytes")]
#[case(
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#,
    "no `kid`"
)]
#[case(r#"{"keys":[{"kty":"RSA","use":"enc","d":"AAAA"}]}"#, "secret")]
#[case(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}"#, "32 bytes")]
#[case(r#"{"keys":[{"kty":"OKP","crv":"X25519","kid":"a","x":"AAAA"}]}"#, "of a kind that is not used")]
#[case(r#"{"keys":[{"kty":"EC","crv":"P-521","kid":"a"}]}"#, "of a kind that is not used")]
#[case(r#"{"keys":[{"kty":"RSA","kid":"a","n":"AAAA","e":"AQAB"}]}"#, "2048")]
#[case(r#"{"keys":[{"kty":"RSA","kid":"a","n":"AAAA"}]}"#, "no e")]
fn a_file_that_cannot_be_used_is_named_with_the_reason(#[case] text: &str, #[case] reason: &str) {
    refused(text, reason);
}

fn refused(text: &str, reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("login.jwks");
    fs::write(&path, text).unwrap();
    let identity = Identity::load_or_create(folder.path()).unwrap();
    let (_, members) = watch::channel(Arc::default());
    let error = Tokens::start(folder.path(), &identity, &"test".parse().unwrap(), members, &config(&path))
        .unwrap_err();
    let told = error.to_string();
    assert!(told.contains("login.jwks") && told.contains(reason), "{told}");
}

#[test]
fn a_key_names_no_other_algorithm_and_stands_there_once() {
    let login = World::new().identity;
    let set = keys(&login);
    let list = set["keys"].as_array().unwrap();
    for (at, alg) in
        [(0, "HS256"), (0, "ES256"), (1, "ES384"), (2, "RS512"), (2, "HS256"), (2, "PS256"), (2, "none")]
    {
        let key = changed(&list[at], "alg", Some(json!(alg)));
        refused(&json!({"keys": [key]}).to_string(), "algorithm");
    }
    refused(&json!({"keys": [list[0], list[0]]}).to_string(), "twice");
    refused(&json!({"keys": [changed(&list[0], "d", Some(json!("AAAA")))]}).to_string(), "secret");
    refused(&json!({"keys": [changed(&list[0], "alg", Some(json!(1)))]}).to_string(), "algorithm");
    refused(&json!({"keys": [changed(&list[1], "use", Some(json!("other")))]}).to_string(), "signatures");
}

#[test]
fn a_file_of_very_many_keys_is_refused_before_each_is_looked_at() {
    refused(&json!({"keys": vec![json!({}); 257]}).to_string(), "more than 256 keys");
}

#[test]
fn keys_that_are_not_used_here_are_passed_over() {
    let login = World::new().identity;
    let mut set = keys(&login);
    let list = set["keys"].as_array_mut().unwrap();
    let changed = |at: usize, kid: Option<&str>, name: &str, value: &str| {
        let key = changed(&list[at], "kid", kid.map(|kid| json!(kid)));
        changed_in(&key, name, json!(value))
    };
    let odd = [
        json!({"kty": "EC", "crv": "P-521", "kid": "p521", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AAAA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AAAA"}),
        changed(2, Some("pss"), "alg", "PS256"),
        changed(2, Some("strong"), "alg", "RS512"),
        changed(0, Some("other"), "use", "other"),
        changed(0, None, "use", "sig"),
    ];
    list.extend(odd);
    let (world, ..) = world(&set.to_string());
    for (kid, name, algorithm) in KEYS {
        let header = json!({"alg": name, "kid": kid}).to_string();
        let token = forge(&header, &claims().to_string(), |m| sign(m, algorithm, &login));
        assert!(world.tokens.check(&token).is_ok(), "{kid}");
    }
    for (kid, name, algorithm) in [
        ("pss", "PS256", Algorithm::PS256),
        ("pss", "RS256", Algorithm::RS256),
        ("strong", "RS512", Algorithm::RS512),
        ("other", "EdDSA", Algorithm::EdDSA),
    ] {
        let header = json!({"alg": name, "kid": kid}).to_string();
        let token = forge(&header, &claims().to_string(), |m| sign(m, algorithm, &login));
        assert_eq!(world.tokens.check(&token), Err(Error::UnknownIssuer), "{kid}");
    }
    // Beside good keys, too, a secret one, a double or a spoilt one is no matter of taste.
    let with = |key: Value| {
        let mut set = keys(&login);
        set["keys"].as_array_mut().unwrap().push(key);
        set.to_string()
    };
    let list = set["keys"].as_array().unwrap();
    refused(&with(json!({"kty": "oct", "kid": "s", "k": "AAAA"})), "secret");
    refused(&with(list[0].clone()), "twice");
    refused(&with(json!({"kty": "RSA", "kid": "short", "n": "AAAA", "e": "AQAB"})), "2048");
    refused(&with(changed_in(&list[1], "alg", json!("RS256"))), "algorithm");
    refused(&with(changed_in(&list[1], "kid", json!(7))), "`kid`");
}

fn changed_in(key: &Value, name: &str, value: Value) -> Value {
    changed(key, name, Some(value))
}

#[test]
fn a_token_of_a_login_service_needs_no_nbf() {
    let login = World::new().identity;
    let (world, ..) = world(&keys(&login).to_string());
    let header = json!({"alg": "EdDSA", "kid": "ed"}).to_string();
    let check = |claims: &Value| world.tokens.check(&forge(&header, &claims.to_string(), |m| login.sign(m)));
    let without = changed(&claims(), "nbf", None);
    assert_eq!(check(&without).unwrap().account, "auth0|7");
    let later = clock::now().as_secs() + 60;
    assert_eq!(check(&changed(&without, "iat", Some(json!(later)))), Err(Error::NotYet));
    assert!(check(&changed(&without, "iat", None)).is_ok());
    assert_eq!(check(&changed(&claims(), "nbf", Some(json!(later)))), Err(Error::NotYet));
    assert!(matches!(check(&changed(&claims(), "nbf", Some(json!(null)))), Err(Error::Malformed(_))));
}

#[test]
fn an_issuer_is_named_once_and_its_file_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(folder.path()).unwrap();
    let start = |config: &Config| {
        let (_, members) = watch::channel(Arc::default());
        Tokens::start(folder.path(), &identity, &"test".parse().unwrap(), members, config)
            .unwrap_err()
            .to_string()
    };
    let path = folder.path().join("login.jwks");
    assert!(start(&config(&path)).contains("login.jwks"));
    fs::write(&path, keys(&identity).to_string()).unwrap();
    let one = config(&path).outside;
    let twice = Config { outside: [one.clone(), one].concat(), ..Config::default() };
    assert!(start(&twice).contains("twice"));
}

#[test]
fn a_changed_file_is_read_again_and_a_spoilt_one_is_not() {
    let (old, new) = (World::new().identity, World::new().identity);
    let (world, path, _folder) = world(&keys(&old).to_string());
    let header = json!({"alg": "EdDSA", "kid": "ed"}).to_string();
    let accepts = |identity: &Identity| {
        world.tokens.check(&forge(&header, &claims().to_string(), |m| identity.sign(m))).is_ok()
    };
    assert!(accepts(&old) && !accepts(&new));
    // As long as the one before, and written within the same moment.
    let moment = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, keys(&new).to_string()).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(moment).unwrap();
    assert!(!accepts(&old) && accepts(&new));
    for spoilt in ["", "{\"keys\":"] {
        fs::write(&path, spoilt).unwrap();
        assert!(!accepts(&old) && accepts(&new), "{spoilt}");
    }
    fs::remove_file(&path).unwrap();
    assert!(accepts(&new));
    fs::write(&path, keys(&old).to_string()).unwrap();
    assert!(accepts(&old) && !accepts(&new));
    // A file that has lain there for a while is believed by its looks.
    let hour_ago = std::time::UNIX_EPOCH + clock::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
    assert!(accepts(&old) && accepts(&old));
    fs::write(&path, keys(&new).to_string()).unwrap();
    assert!(!accepts(&old) && accepts(&new));
}
