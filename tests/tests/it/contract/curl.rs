//! Turns a documented curl command into the request that curl would send. Only the options that the
//! documentation uses.

use std::fs;
use std::path::Path;

use assetmesh_tests::{Method, Request, multipart};

pub(super) fn request(command: &str) -> Request {
    let mut words = words(command).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"));
    let (mut method, mut url) = (Method::Get, String::new());
    let (mut headers, mut parts, mut body) = (Vec::new(), Vec::new(), None);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "-X" => method = Method::named(&value()).unwrap(),
            "-H" => headers.push(value()),
            "-F" => parts.push(part(&value())),
            "-d" => body = Some(value()),
            "-o" => drop(value()),
            _ => url = word,
        }
    }
    let (_, after_host) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut request = Request::new(method, format!("/{after_host}"));
    if !parts.is_empty() {
        let parts: Vec<(&str, &[u8])> =
            parts.iter().map(|(head, bytes)| (head.as_str(), bytes.as_slice())).collect();
        // curl adds the boundary to the given Content-Type.
        return request
            .with_header("Content-Type", &format!("multipart/form-data; boundary={}", multipart::BOUNDARY))
            .with_body(multipart::body(&parts));
    }
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.with_header(name, value);
    }
    request.with_body(body.unwrap_or_default().into_bytes())
}

/// `name=value` or `name=@file`, as the head and the bytes of a part.
fn part(option: &str) -> (String, Vec<u8>) {
    let (name, value) = option.split_once('=').unwrap();
    match value.strip_prefix('@') {
        None => (format!("name=\"{name}\""), value.as_bytes().to_vec()),
        Some(path) => {
            let file_name = Path::new(path).file_name().unwrap().to_str().unwrap();
            let head = format!("name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: image/png");
            (head, fs::read(path).unwrap())
        }
    }
}

/// Splits as a shell does: quotes, and a line that goes on after a backslash.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('\\', None) => drop(characters.next()),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_split_as_a_shell_does() {
    let command = "curl -X GET \\\n  -H \"A: b c\" -d '{\"x\": [1, 2]}'";
    assert_eq!(words(command), ["curl", "-X", "GET", "-H", "A: b c", "-d", "{\"x\": [1, 2]}"]);
}
