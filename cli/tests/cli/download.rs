//! `assetmesh download`: breaks, resumes, wrong bytes, names.

use std::path::Path;

use serde_json::json;

use crate::run::Run;
use crate::stub::{Seen, Stub, answer, error, json as json_answer};

const SIZE: usize = 300_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

fn id_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn description(file_name: &str) -> Vec<u8> {
    let id = id_of(&content());
    let file = json!({"file_name": file_name, "file_size": SIZE});
    json_answer(200, &json!({"success": true, "data": {"asset_id": id, "asset_file_info": file}}))
}

/// The whole content, or the range that was asked for.
fn object(request: &Seen) -> Vec<u8> {
    let content = content();
    let Some(range) = request.header("range") else {
        return answer(200, &["X-Assetmesh-Source: local"], &content);
    };
    let first: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    assert_eq!(request.header("if-range"), Some(format!("\"{}\"", id_of(&content)).as_str()));
    let told = format!("Content-Range: bytes {first}-{}/{SIZE}", SIZE - 1);
    answer(206, &[&told], &content[first..])
}

/// A node whose first answer for the bytes breaks off; `later` answers the others.
fn breaking(later: impl Fn(&Seen) -> Vec<u8> + Send + 'static) -> Stub {
    Stub::start(move |request, number| match number {
        _ if request.is("GET /asset/") => description("a.bin"),
        1 => object(request)[..100_000].to_vec(),
        _ => later(request),
    })
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_download_ends_with_the_path_of_the_proven_file() {
    let node = Stub::start(
        |request, _| if request.is("GET /asset/") { description("a.bin") } else { object(request) },
    );
    let folder = tempfile::tempdir().unwrap();
    let ended = Run::new(["download", "a:1-x"]).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(ended.stdout, "a.bin\n");
    assert!(ended.stderr.contains("from local"), "{}", ended.stderr);
    assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), content());
    assert_eq!(files(folder.path()), ["a.bin"]);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let node = breaking(object);
    let folder = tempfile::tempdir().unwrap();
    Run::new(["download", "a:1-x"]).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), content());
    let ranges: Vec<_> =
        node.seen().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    assert_ne!(ranges[0], "bytes=0-");
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_gave_up() {
    let node = breaking(object);
    let folder = tempfile::tempdir().unwrap();
    let run = |retries| {
        Run::new(["download", "a:1-x", "--retries", retries]).at(&node).in_folder(folder.path()).end()
    };
    run("0").with_code(8);
    let [left] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    assert!(left.starts_with("a.bin.") && left.ends_with(".part"), "{left}");
    let ended = run("0").with_code(0);
    assert!(ended.stderr.contains("earlier download"), "{}", ended.stderr);
    assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), content());
    assert!(node.seen().iter().any(|request| request.header("range").is_some()));
}

#[test]
fn a_node_that_knows_no_ranges_is_borne() {
    let node = breaking(|_| answer(200, &[], &content()));
    let folder = tempfile::tempdir().unwrap();
    Run::new(["download", "a:1-x"]).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), content());
}

#[test]
fn wrong_bytes_never_get_the_final_name() {
    let node = Stub::start(|request, _| {
        let mut wrong = content();
        wrong[SIZE / 2] ^= 1;
        if request.is("GET /asset/") { description("a.bin") } else { answer(200, &[], &wrong) }
    });
    let folder = tempfile::tempdir().unwrap();
    let ended = Run::new(["download", "a:1-x"]).at(&node).in_folder(folder.path()).end().with_code(6);
    assert!(ended.stderr.contains(&id_of(&content())), "{}", ended.stderr);
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn a_spoilt_leftover_is_fetched_anew() {
    let node = breaking(object);
    let folder = tempfile::tempdir().unwrap();
    let run = || Run::new(["download", "a:1-x", "--retries", "0"]).at(&node).in_folder(folder.path()).end();
    run().with_code(8);
    let left = folder.path().join(&files(folder.path())[0]);
    let mut bytes = std::fs::read(&left).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&left, bytes).unwrap();
    run().with_code(0);
    assert_eq!(std::fs::read(folder.path().join("a.bin")).unwrap(), content());
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let node = Stub::start(
        |request, _| if request.is("GET /asset/") { description("a.bin") } else { object(request) },
    );
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.bin");
    std::fs::write(&target, "mine").unwrap();
    let ended = Run::new(["download", "a:1-x"]).at(&node).in_folder(folder.path()).end().with_code(5);
    assert!(ended.stderr.contains("--force"), "{}", ended.stderr);
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    Run::new(["download", "a:1-x", "--force"]).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(std::fs::read(&target).unwrap(), content());
}

#[test]
fn a_stored_name_cannot_choose_the_folder() {
    let node =
        Stub::start(
            |request, _| if request.is("GET /asset/") { description("../../b.bin") } else { object(request) },
        );
    let folder = tempfile::tempdir().unwrap();
    let ended = Run::new(["download", "a:1-x"]).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(ended.last_line(), "b.bin");
    assert_eq!(files(folder.path()), ["b.bin"]);
}

#[test]
fn an_id_is_fetched_without_a_uri() {
    let node = Stub::start(|request, _| match request.is("HEAD ") {
        true => {
            let mut head =
                answer(200, &["Content-Disposition: attachment; filename*=UTF-8''c%20d.bin"], &content());
            head.truncate(head.len() - SIZE);
            head
        }
        false => object(request),
    });
    let folder = tempfile::tempdir().unwrap();
    let ended =
        Run::new(["download", &id_of(&content())]).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(ended.last_line(), "c d.bin");
    assert!(node.seen().iter().all(|request| request.line.contains("/asset-object/")), "{:?}", node.seen());
}

#[test]
fn standard_output_gets_each_byte_once_in_spite_of_a_break() {
    let node = breaking(object);
    let ended = Run::new(["download", "a:1-x", "-o", "-"]).at(&node).end().with_code(0);
    assert_eq!(id_of(ended.stdout.as_bytes()), id_of(String::from_utf8_lossy(&content()).as_bytes()));
}

#[test]
fn what_no_node_stores_is_not_found() {
    let external =
        json!({"success": true, "data": {"asset_id": "", "asset_public_url": "https://x.example/y"}});
    let node = Stub::start(move |request, _| match request.is("GET /asset/external") {
        true => json_answer(200, &external),
        false => error(404, "No document found", "not_found"),
    });
    let ended = Run::new(["download", "external:1-x"]).at(&node).end().with_code(3);
    assert!(ended.stderr.contains("https://x.example/y"), "{}", ended.stderr);
    let ended = Run::new(["download", "gone:1-x"]).at(&node).end().with_code(3);
    assert!(ended.stderr.contains("No document found"), "{}", ended.stderr);
}
