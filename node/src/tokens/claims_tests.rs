//! Claims that are wrong in one thing, well signed: none may be accepted.

use serde_json::json;

use super::clock;
use super::test_kit::{World, changed, oddities, trial};

#[test]
fn every_claim_is_needed_and_of_its_type() {
    let world = World::new();
    let mut trial = trial(&world);
    let claims = world.claims();
    for name in ["iss", "sub", "aud", "exp", "scopes", "jti"] {
        trial.refused_claims(&changed(&claims, name, None));
    }
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
        for odd in oddities() {
            trial.refused_claims(&changed(&claims, name, Some(odd)));
        }
    }
    for payload in ["[]", "null", "\"x\"", "", " ", "{", &format!("{claims}{claims}"), &format!("{claims},")]
    {
        trial.refused(payload, &world.signed(&world.header().to_string(), payload));
    }
    let nested = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    trial.refused("deep", &world.signed(&world.header().to_string(), &format!("{{\"x\":{nested}}}")));
    assert_eq!(trial.tried, 78);
}

#[test]
fn times_are_whole_seconds_and_hold_now() {
    let world = World::new();
    let mut trial = trial(&world);
    let claims = world.claims();
    let text = |name: &str| claims[name].as_u64().unwrap().to_string();
    for name in ["exp", "nbf", "iat"] {
        let whole = text(name);
        for written in [
            format!("\"{whole}\""),
            format!("{whole}.0"),
            format!("{whole}.5"),
            format!("{whole}e0"),
            format!("-{whole}"),
            format!("[{whole}]"),
            "18446744073709551615".to_owned(),
            "18446744073709551616".to_owned(),
            "1e400".to_owned(),
            "NaN".to_owned(),
            "Infinity".to_owned(),
            format!("0{whole}"),
            format!("+{whole}"),
            format!("0x{whole}"),
            "\"9999-12-31T23:59:59Z\"".to_owned(),
            "9007199254740993".to_owned(),
        ] {
            let member = format!("\"{name}\":{whole}");
            let claims = claims.to_string().replace(&member, &format!("\"{name}\":{written}"));
            trial.refused(&claims, &world.signed(&world.header().to_string(), &claims));
        }
    }
    let now = clock::now().as_secs();
    for (name, value) in [
        ("exp", 0),
        ("exp", 1),
        ("exp", now - 6),
        ("exp", now - 86_400),
        ("exp", now + 367 * 86_400),
        ("nbf", now + 60),
        ("nbf", now + 86_400),
        ("iat", now + 60),
        ("iat", now + 86_400),
    ] {
        trial.refused_claims(&changed(&claims, name, Some(json!(value))));
    }
    assert_eq!(trial.tried, 57);
}

#[test]
fn scopes_accounts_and_audiences_are_what_they_must_be() {
    let world = World::new();
    let mut trial = trial(&world);
    let claims = world.claims();
    for scopes in [
        json!("admin"),
        json!("assets:write admin"),
        json!(null),
        json!({"admin": true}),
        json!([1]),
        json!([null]),
        json!([["admin"]]),
        json!(["admin", 1]),
        json!([""]),
        json!(["x".repeat(257)]),
        json!(vec!["a"; 65]),
        json!(1),
    ] {
        trial.refused_claims(&changed(&claims, "scopes", Some(scopes)));
    }
    for sub in
        ["a/b", "/", "..", "-a", " acme", "acme ", "ac me", "acme\0", "ac\nme", "größe", &"x".repeat(129)]
    {
        trial.refused_claims(&changed(&claims, "sub", Some(json!(sub))));
    }
    for aud in [
        json!("main"),
        json!("TEST"),
        json!("test "),
        json!("tes"),
        json!("test2"),
        json!(["main"]),
        json!([1, "test"]),
        json!(["test", ["test"]]),
        json!({"test": "test"}),
        json!("test,main"),
        json!(vec!["test"; 65]),
    ] {
        trial.refused_claims(&changed(&claims, "aud", Some(aud)));
    }
    assert_eq!(trial.tried, 34);
}
