//! The verbs of the command line in a federation: where bytes come from, why they do not, and what an answer lacks.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use assetmesh_tests::{Cluster, Content, binary, description_of};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// A provider that stalls is given up after 10 s.
const REPLACED_WITHIN: Duration = Duration::from_secs(90);

fn verb(cluster: &Cluster, at: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env("ASSETMESH_NODE", cluster.node(at).url());
    command
}

fn run(cluster: &Cluster, at: usize, arguments: &[&str]) -> Output {
    verb(cluster, at, arguments).output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a process says on standard error, line by line as it comes.
fn lines(process: &mut Child) -> Receiver<String> {
    let (to, lines) = channel();
    let errors = BufReader::new(process.stderr.take().unwrap());
    thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
    lines
}

/// Waits for a line that contains a text; gives all until then.
fn until(lines: &Receiver<String>, wanted: &str) -> Vec<String> {
    let end = Instant::now() + REPLACED_WITHIN;
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &String| line.contains(wanted)) {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => seen.push(line),
            Err(_) => panic!("no {wanted:?} in {seen:#?}"),
        }
    }
    seen
}

#[test]
fn a_download_says_where_the_bytes_come_from_and_why_it_waits() {
    let cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 3, size: 120_000_000 };
    for at in 0..2 {
        let uploaded = cluster.api(at).upload(&description_of("far", &json!({})), &content.bytes()).unwrap();
        assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    }
    let mut download = verb(&cluster, 2, &["download", &content.id(), "-o", "-"]);
    let mut download = download.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = lines(&mut download);
    let source = until(&lines, "from ").pop().unwrap();
    let stalls = (0..2).find(|at| source.contains(&cluster.id(*at).unwrap())).expect("the source is named");
    assert!(source.starts_with(&format!("from n{stalls} (peer:")), "{source}");
    let id = Pid::from_raw(cluster.node(stalls).id().try_into().unwrap()).unwrap();
    kill_process(id, Signal::STOP).unwrap();
    // Nothing was read before, so most of it has still to be asked for.
    let mut stdout = download.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    until(&lines, &format!("waiting for n{stalls}: "));
    until(&lines, &format!("n{stalls} was given up: "));
    let status = download.wait().unwrap();
    kill_process(id, Signal::CONT).unwrap();
    assert!(status.success(), "{status}");
    assert!(reading.join().unwrap().unwrap() == content.bytes());
}

#[test]
fn a_list_that_lacks_a_node_says_so_and_ends_with_its_own_code() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let created = cluster.api(0).create(&description_of("near", &json!({}))).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let (code, _, errors) = told(&run(&cluster, 0, &["ls"]));
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("2 of 2 nodes answered"), "{errors}");
    let content = Content { seed: 4, size: 900 };
    let uploaded = cluster.api(1).upload(&description_of("far", &json!({})), &content.bytes()).unwrap();
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let gone = cluster.id(1).unwrap();
    cluster.kill(1);
    cluster.wait_state(0, &gone, "down", SOON).unwrap();
    for asset in ["far:1-t", &content.id()] {
        let (code, _, errors) = told(&run(&cluster, 0, &["download", asset, "-o", "-"]));
        assert!(code == Some(8) && errors.contains("n1"), "{asset}: {code:?}, {errors}");
    }
    for verb in [&["ls"][..], &["query", "{}"]] {
        let (code, rows, errors) = told(&run(&cluster, 0, verb));
        assert_eq!(code, Some(7), "{verb:?}: {errors}");
        assert!(rows.contains("near:1-t"), "what there is comes all the same: {rows}");
        assert!(errors.contains("1 of 2 nodes answered") && errors.contains("n1 (down)"), "{errors}");
        let (code, rows, errors) = told(&run(&cluster, 0, &[verb, &["--allow-partial", "--json"]].concat()));
        assert_eq!(code, Some(0), "{verb:?}: {errors}");
        assert!(errors.contains("n1 (down)"), "{errors}");
        let row: Value = serde_json::from_str(&rows).unwrap();
        assert_eq!(row["asset_uri"], "near:1-t");
        let (code, _, errors) = told(&run(&cluster, 0, &[verb, &["-q"]].concat()));
        assert_eq!((code, errors.lines().count()), (Some(7), 1), "only the failure: {errors}");
        let (code, _, errors) = told(&run(&cluster, 0, &[verb, &["-q", "--allow-partial"]].concat()));
        assert_eq!((code, errors.as_str()), (Some(0), ""));
    }
    let (code, _, errors) = told(&run(&cluster, 0, &["peers", "forget", "unknown"]));
    assert_eq!(code, Some(3), "{errors}");
    let (code, last, errors) = told(&run(&cluster, 0, &["peers", "forget", &gone]));
    assert_eq!((code, last.trim()), (Some(0), gone.as_str()), "{errors}");
    let (_, peers, _) = told(&run(&cluster, 0, &["peers"]));
    assert!(peers.contains("down, forgotten"), "{peers}");
    let (code, _, errors) = told(&run(&cluster, 0, &["ls"]));
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = told(&run(&cluster, 0, &["download", &content.id(), "-o", "-"]));
    assert_eq!(code, Some(3), "{errors}");
}
