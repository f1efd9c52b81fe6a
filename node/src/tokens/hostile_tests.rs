//! Thousands of hostile tokens, none of which may be accepted, beside controls that must be. Each is wrong in one thing
//! alone: it carries the id of a token that was really issued, and but for where that is the point, a good signature.

use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use serde_json::{Value, json};

use super::test_kit::{World, changed, encode, forge, oddities, order, trial};
use super::*;

#[test]
fn good_tokens_in_other_clothes_are_accepted() {
    let world = World::new();
    let (header, claims) = (world.header(), world.claims());
    let mut backwards: Vec<_> = claims.as_object().unwrap().clone().into_iter().collect();
    backwards.reverse();
    let backwards = Value::Object(backwards.into_iter().collect());
    for (header, claims) in [
        (header.clone(), backwards),
        (header.clone(), changed(&claims, "aud", Some(json!(["other", "test"])))),
        (header.clone(), changed(&claims, "x", Some(json!({"deep": [{}]})))),
        (header.clone(), changed(&claims, "iat", None)),
        (header.clone(), changed(&claims, "scopes", Some(json!([])))),
        (changed(&header, "typ", None), claims.clone()),
        (changed(&header, "typ", Some(json!("at+JWT"))), claims.clone()),
        (changed(&header, "x5t", Some(json!("abc"))), claims.clone()),
    ] {
        let token = world.signed(&header.to_string(), &format!(" {claims:#}\n"));
        assert!(world.tokens.check(&token).is_ok(), "{header} {claims}");
    }
}

#[test]
fn no_header_talks_its_way_in() {
    let world = World::new();
    let mut trial = trial(&world);
    let (header, claims) = (world.header(), world.claims());
    let id = world.identity.assets_db_id().to_string();
    let algorithms = [
        "none", "None", "nOnE", "NONE", "", "HS256", "HS384", "HS512", "RS256", "RS512", "ES256", "ES384",
        "PS256", "eddsa", "EDDSA", "EdDSA ", "Ed25519", "EdDSA\0", "dir", "A128KW",
    ];
    for algorithm in algorithms {
        let header = changed(&header, "alg", Some(json!(algorithm)));
        trial.refused_header(&header, &claims);
        for junk in [&b""[..], b"\0", b"none", &[0; 64], &[0xff; 64]] {
            trial.refused(algorithm, &forge(&header.to_string(), &claims.to_string(), |_| junk.to_vec()));
        }
    }
    for name in ["alg", "kid"] {
        trial.refused_header(&changed(&header, name, None), &claims);
        for odd in oddities().into_iter().chain([json!(["EdDSA"]), json!([id])]) {
            trial.refused_header(&changed(&header, name, Some(odd)), &claims);
        }
    }
    for typ in [json!("JWE"), json!("jose"), json!(""), json!(1), json!(null), json!(["JWT"])] {
        trial.refused_header(&changed(&header, "typ", Some(typ)), &claims);
    }
    let key = encode(world.identity.node_key().as_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": key});
    for (name, value) in [
        ("jwk", jwk.clone()),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("file:///etc/passwd")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("epk", jwk),
        ("url", json!("http://169.254.169.254/")),
        ("nonce", json!("x")),
        ("cty", json!("JWT")),
        ("Kid", json!(id)),
    ] {
        trial.refused_header(&changed(&header, name, Some(value)), &claims);
    }
    assert!(trial.tried > 150, "{}", trial.tried);
}

#[test]
fn no_key_id_leads_anywhere() {
    let world = World::new();
    let mut trial = trial(&world);
    let (header, claims) = (world.header(), world.claims());
    let id = world.identity.assets_db_id().to_string();
    let data = world.folder.path().display().to_string();
    let kids = [
        "node.key".to_owned(),
        "../node.key".to_owned(),
        format!("{data}/node.key"),
        "/dev/null".to_owned(),
        "/proc/self/environ".to_owned(),
        "file:///dev/null".to_owned(),
        "https://evil.example/jwks".to_owned(),
        "' OR '1'='1".to_owned(),
        "x' UNION SELECT 'key'--".to_owned(),
        "\"; drop table keys; --".to_owned(),
        "$(cat node.key)".to_owned(),
        "${jndi:ldap://evil.example/a}".to_owned(),
        "%2e%2e%2fnode.key".to_owned(),
        format!("{id}\0"),
        format!("{id} "),
        format!(" {id}"),
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        format!("{id}/../{id}"),
        "*".to_owned(),
        ".*".to_owned(),
        "x".repeat(4000),
    ];
    let public = *world.identity.node_key().as_bytes();
    for kid in kids {
        let header = changed(&header, "kid", Some(json!(kid)));
        trial.refused_header(&header, &claims);
        // What such a name could have led to as a key.
        for key in [&b""[..], b"\0", &public] {
            let hs = changed(&header, "alg", Some(json!("HS256")));
            trial.refused(&kid, &hmac(&hs, &claims, key, Algorithm::HS256));
        }
    }
    assert!(trial.tried > 90, "{}", trial.tried);
}

fn hmac(header: &Value, claims: &Value, key: &[u8], algorithm: Algorithm) -> String {
    forge(&header.to_string(), &claims.to_string(), |message| {
        let key = EncodingKey::from_secret(key);
        let signature = jsonwebtoken::crypto::sign(message, &key, algorithm).unwrap();
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap()
    })
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let world = World::new();
    let mut trial = trial(&world);
    let (header, claims) = (world.header(), world.claims());
    let key = world.identity.node_key();
    let hex = key.to_string();
    let spki =
        [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], &key.as_bytes()[..]]
            .concat();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &spki);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
    let peer_id = world.identity.peer_id().to_string();
    let id = world.identity.assets_db_id().to_string();
    let forms: Vec<Vec<u8>> = vec![
        key.as_bytes().to_vec(),
        key.encoded().to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
        encode(key.as_bytes()).into_bytes(),
        encode(key.encoded()).into_bytes(),
        spki.clone(),
        base64.into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        pem.into_bytes(),
        peer_id.into_bytes(),
        id.into_bytes(),
        Vec::new(),
    ];
    for form in &forms {
        for (name, algorithm) in
            [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            for told in [name, "EdDSA"] {
                let header = changed(&header, "alg", Some(json!(told)));
                trial.refused(name, &hmac(&header, &claims, form, algorithm));
            }
        }
    }
    assert_eq!(trial.tried, forms.len() * 6);
}

#[test]
fn nothing_may_be_said_twice() {
    let world = World::new();
    let mut trial = trial(&world);
    let (header, claims) = (world.header(), world.claims());
    let mut twice = |object: &Value, is_header: bool| {
        for text in doubled(object) {
            let (header, claims) =
                if is_header { (text, claims.to_string()) } else { (header.to_string(), text) };
            trial.refused("twice", &world.signed(&header, &claims));
        }
    };
    twice(&header, true);
    twice(&claims, false);
    assert!(trial.tried > 150, "{}", trial.tried);
}

/// An object with each of its members once more: before and behind, plain and escaped, the same and another.
fn doubled(object: &Value) -> Vec<String> {
    let text = object.to_string();
    let inner = &text[1..text.len() - 1];
    let mut all = Vec::new();
    for (name, value) in object.as_object().unwrap() {
        let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
        let again = |other: &Value| [name, &escaped].map(|name| format!("\"{name}\":{other}"));
        let members =
            [value.clone(), json!("x"), json!(1), json!(null)].iter().flat_map(again).collect::<Vec<_>>();
        all.extend(members.iter().map(|member| format!("{{{inner},{member}}}")));
        all.extend(members.iter().map(|member| format!("{{{member},{inner}}}")));
    }
    all
}

#[test]
fn strangers_are_not_believed() {
    let (world, stranger) = (World::new(), World::new());
    let mut trial = trial(&world);
    let (own, foreign) =
        (world.identity.assets_db_id().to_string(), stranger.identity.assets_db_id().to_string());
    let key = stranger.identity.node_key();
    let names = [
        own.clone(),
        foreign,
        key.to_string(),
        stranger.identity.peer_id().to_string(),
        own.to_uppercase(),
        format!("{own} "),
        "".to_owned(),
        "*".to_owned(),
        "https://login.example/".to_owned(),
        own.replace('-', ""),
        format!("{own}#"),
    ];
    for issuer in &names {
        for kid in &names {
            let claims = changed(&world.claims(), "iss", Some(json!(issuer)));
            let header = changed(&world.header(), "kid", Some(json!(kid)));
            trial.refused(
                issuer,
                &forge(&header.to_string(), &claims.to_string(), |m| stranger.identity.sign(m)),
            );
            if (issuer, kid) != (&own, &own) {
                trial.refused_header(&header, &claims);
            }
        }
    }
    let whole = stranger.office.issue(&order(false)).unwrap().token;
    trial.refused("a whole token of another node", &whole);
    assert!(trial.tried > 200, "{}", trial.tried);
}

#[test]
fn an_id_names_a_token_that_was_issued_and_nothing_else() {
    let world = World::new();
    let mut trial = trial(&world);
    let claims = world.claims();
    let opaque = world.office.issue(&order(true)).unwrap().record.id;
    let revoked = world.office.issue(&order(false)).unwrap().record.id;
    world.office.revoke(&revoked).unwrap();
    let id = claims["jti"].as_str().unwrap();
    for id in [
        opaque.as_str(),
        &revoked,
        "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "../node.key",
        "network",
        ".",
        "",
        "\0",
        &format!("../tokens/{id}"),
        &format!("{id}.json"),
        &format!("{id}\0"),
        &format!(" {id}"),
        "x",
        &"x".repeat(300),
    ] {
        trial.refused_claims(&changed(&claims, "jti", Some(json!(id))));
    }
    assert_eq!(trial.tried, 14);
}

#[test]
fn no_changed_character_goes_unnoticed() {
    let world = World::new();
    let mut trial = trial(&world);
    for is_opaque in [false, true] {
        let good = world.office.issue(&order(is_opaque)).unwrap().token;
        for at in 0..good.len() {
            // Each neighbour in the alphabet differs in the lowest bit: the spare bits of a last character, too.
            let old = good.as_bytes()[at];
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let place = alphabet.iter().position(|known| *known == old).unwrap_or_default();
            for new in [alphabet[place ^ 1], alphabet[place ^ 32], b'.', b'=', b' ', b'+', b'/', b'\0'] {
                if new != old {
                    let mut bytes = good.clone().into_bytes();
                    bytes[at] = new;
                    trial.refused("a changed character", std::str::from_utf8(&bytes).unwrap());
                }
            }
            trial.refused("cut short", &good[..at]);
            trial.refused("without its beginning", &good[at + 1..]);
            trial.refused("a character less", &format!("{}{}", &good[..at], &good[at + 1..]));
            trial.refused("a character more", &format!("{}A{}", &good[..at], &good[at..]));
        }
        assert!(world.tokens.check(&good).is_ok());
    }
    assert!(trial.tried > 6_000, "{}", trial.tried);
}

#[test]
fn no_other_form_of_a_token_is_read() {
    let world = World::new();
    let mut trial = trial(&world);
    let good = world.office.issue(&order(false)).unwrap().token;
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("no three parts") };
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{header}=.{claims}=.{signature}="),
        format!("{header}==.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("..{signature}"),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}.{signature}.."),
        format!("{header}.{claims}.{claims}.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}{signature}"),
        format!("{header} .{claims}.{signature}"),
        format!("{good}\n"),
        format!(" {good}"),
        format!("Bearer {good}"),
        format!("\"{good}\""),
        format!("{good},{good}"),
        format!("{good} {good}"),
        good.to_lowercase(),
        good.to_uppercase(),
        format!("nvapi-{good}"),
        format!("nvapi-{}", &good[..64]),
        "nvapi-".to_owned(),
        "null".to_owned(),
        format!("{{\"payload\":\"{claims}\",\"protected\":\"{header}\",\"signature\":\"{signature}\"}}"),
        "A".repeat(TOKEN_BYTES_MAX),
        "A".repeat(TOKEN_BYTES_MAX + 1),
        ".".repeat(1 << 20),
        "A".repeat(1 << 20),
        format!("nvapi-{}", "A".repeat(1 << 20)),
        format!("{good}{}", "A".repeat(1 << 20)),
        format!("{}.{claims}.{signature}", header.repeat(3000)),
        "\u{feff}".to_owned() + &good,
        "é".repeat(100),
    ] {
        trial.refused("another form", &token);
    }
    let large = changed(&world.claims(), "x", Some(json!("x".repeat(1 << 20))));
    trial.refused("a megabyte, well signed", &world.signed(&world.header().to_string(), &large.to_string()));
    assert_eq!(
        world.tokens.check(&world.signed(&world.header().to_string(), &large.to_string())),
        Err(Error::TooLong)
    );
    assert!(trial.tried > 40, "{}", trial.tried);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_parts_are_refused_and_never_panic(
        header in prop::collection::vec(any::<u8>(), 0..60),
        claims in prop::collection::vec(any::<u8>(), 0..60),
        text in any::<String>(),
    ) {
        let find = |_: &str, _: &str| panic!("a random token got as far as its key");
        let token = forge(&String::from_utf8_lossy(&header), &String::from_utf8_lossy(&claims), |_| vec![0; 64]);
        assert!(jwt::judge(clock::now(), &token, find).is_err());
        assert!(jwt::judge(clock::now(), &text, find).is_err());
        assert!(key::parse(&text).is_err());
    }
}
