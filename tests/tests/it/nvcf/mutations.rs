//! Ten thousand alterations of valid upload URLs, none of which may store a byte.

use assetmesh_tests::{Api, Connection, Method, Random, Request, Response};

use super::account::{Account, Created, DESCRIPTION, put};
use crate::it::support::TestNode;

const MUTATIONS: usize = 10_000;
/// What may stand in the target of a request.
const CHARACTERS: &[u8] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/?%";

/// A valid URL in its parts.
struct Parts<'a> {
    target: &'a str,
    account: &'a str,
    id: &'a str,
    expires: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap();
        let (account, id) = path.strip_prefix("/v2/nvcf/uploads/").unwrap().split_once('/').unwrap();
        let (expires, signature) = query.strip_prefix("expires=").unwrap().split_once("&signature=").unwrap();
        Self { target, account, id, expires, signature }
    }

    fn join(account: &str, id: &str, query: &str) -> String {
        format!("/v2/nvcf/uploads/{account}/{id}?{query}")
    }

    /// One alteration of the meaning or the spelling.
    fn altered(&self, random: &mut Random, other: &Parts<'_>) -> String {
        let Self { target, account, id, expires, signature } = *self;
        let query = format!("expires={expires}&signature={signature}");
        let later = expires.parse::<u64>().unwrap() + 1 + random.within(0..1_000_000_000);
        match random.below(18) {
            0 => Self::join(account, id, &format!("signature={signature}&expires={expires}")),
            1 => Self::join(account, id, &format!("{query}&{query}")),
            2 => Self::join(account, id, &format!("expires={later}&signature={signature}")),
            3 => Self::join(account, id, &format!("expires={later}&{query}")),
            4 => Self::join(account, id, &format!("{query}&expires={later}")),
            5 => Self::join(account, id, &format!("signature={signature}")),
            6 => Self::join(account, id, &format!("expires={expires}")),
            7 => Self::join(account, id, &format!("{query}&x={}", random.number())),
            8 => Self::join(other.account, id, &query),
            9 => Self::join(account, other.id, &query),
            10 => Self::join(other.account, other.id, &query),
            11 => Self::join(account, id, &format!("expires={expires}&signature={}", other.signature)),
            12 => encoded(target, random),
            13 => Self::join(&account.to_uppercase(), &id.to_uppercase(), &query.to_uppercase()),
            14 => Self::join(account, id, &format!("expires=0{expires}&signature={signature}")),
            15 => format!("/{}{target}", "/".repeat(random.below(3))),
            16 => target.replacen('/', "/./", 1 + random.below(4)),
            _ => Self::join(account, &id.replace('-', ""), &query),
        }
    }
}

/// One character as an escape, which any decoder would undo; or an escape of an escape.
fn encoded(target: &str, random: &mut Random) -> String {
    let at = 1 + random.below(target.len() - 1);
    let escape = format!("%{:02x}", target.as_bytes()[at]);
    let escape = if random.chance(50) { escape } else { escape.replace('%', "%25") };
    format!("{}{escape}{}", &target[..at], &target[at + 1..])
}

/// Another character in some place, one more or one less.
fn one_character(target: &str, random: &mut Random) -> String {
    let at = 1 + random.below(target.len() - 1);
    let new = char::from(*random.pick(CHARACTERS));
    let (before, after) = target.split_at(at);
    match random.below(4) {
        0 => format!("{before}{new}{after}"),
        1 => format!("{before}{}", &after[1..]),
        _ => format!("{before}{new}{}", &after[1..]),
    }
}

fn send(api: &mut Api, request: &Request) -> Response {
    api.call(request).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn none_of_ten_thousand_altered_urls_is_taken() {
    let node = TestNode::start();
    let (mut acme, mut other) = (Account::of(&node, "acme"), Account::of(&node, "acme2"));
    let (valid, foreign) = (acme.create(), other.create());
    let (parts, foreign_parts) = (Parts::of(&valid.target), Parts::of(&foreign.target));
    let mut random = Random::seeded(38);
    let mut api = node.api();
    let mut tried = 0;
    while tried < MUTATIONS {
        let is_small = random.chance(60);
        let target = match is_small {
            true => one_character(&valid.target, &mut random),
            false => parts.altered(&mut random, &foreign_parts),
        };
        if target == valid.target || target == foreign.target {
            continue;
        }
        let answer = send(&mut api, &put(&target, b"evil"));
        assert_eq!(answer.status, 403, "{target}: {}", answer.text());
        tried += 1;
    }
    other_requests(&mut api, &valid);
    assert!(acme.ids().is_empty() && other.ids().is_empty());
    node.assert_holds(0, 0, 0);
    // The control: both URLs are as good as they were.
    for created in [&valid, &foreign] {
        assert_eq!(send(&mut api, &put(&created.target, b"good")).status, 200);
    }
    assert_eq!((acme.ids(), other.ids()), (vec![valid.id], vec![foreign.id]));
}

/// The valid URL in a request that it was not signed for.
fn other_requests(api: &mut Api, valid: &Created) {
    for method in [Method::Get, Method::Head, Method::Post, Method::Delete, Method::Options, Method::Patch] {
        let request = Request::new(method, valid.target.as_str())
            .with_header("Content-Type", "image/png")
            .with_header(DESCRIPTION, "red-cat-photo");
        assert_eq!(send(api, &request).status, 403, "{}", method.name());
    }
    let overridden = Request::new(Method::Post, valid.target.as_str())
        .with_header("X-HTTP-Method-Override", "PUT")
        .with_body(b"evil".to_vec());
    assert_eq!(send(api, &overridden).status, 403);
}

#[test]
fn a_url_of_another_node_is_refused_and_bytes_that_are_no_target_are() {
    let (node, elsewhere) = (TestNode::start(), TestNode::start());
    let foreign = Account::of(&elsewhere, "acme").create();
    assert_eq!(send(&mut node.api(), &put(&foreign.target, b"evil")).status, 403);
    let mut acme = Account::of(&node, "acme");
    let valid = acme.create();
    for bad in [
        &b"\x00"[..],
        b"\x7f",
        b" ",
        b"\t",
        b"\xff",
        b"\xc3\xa9",
        b"<",
        b"\"",
        b"\\",
        b"|",
        b"^",
        b"`",
        b"{",
        b"#",
    ] {
        let (before, after) = valid.target.split_at(valid.target.len() - 5);
        let raw = [
            b"PUT ", before.as_bytes(), bad, after.as_bytes(),
            b" HTTP/1.1\r\nHost: node\r\nContent-Type: image/png\r\nx-amz-meta-nvcf-asset-description: red-cat-photo\r\n\
              Connection: close\r\nContent-Length: 4\r\n\r\nevil",
        ]
        .concat();
        let mut connection = Connection::open(node.process.address()).unwrap();
        connection.send_raw(&raw).unwrap();
        let answer = connection.receive(Method::Put).unwrap();
        assert!(matches!(answer.status, 400 | 403), "{bad:?}: {}", answer.text());
    }
    assert!(acme.ids().is_empty());
}
