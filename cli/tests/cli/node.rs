//! `assetmesh node run` and `verify` where nothing can start: each mistake has its code and says what to do.

use std::net::TcpListener;

use crate::run::Run;

#[test]
fn a_port_in_use_leaves_no_data_behind() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let ended = Run::new(["node", "run", "--http", &address]).in_folder(folder.path()).end().with_code(2);
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("--http"), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_data_dir_that_cannot_be_made_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let line = ["node", "run", "--http", "127.0.0.1:0", "--data-dir", "file/data"];
    let ended = Run::new(line).in_folder(folder.path()).end().with_code(2);
    assert!(ended.stderr.contains("file/data") && ended.stderr.contains("--data-dir"), "{}", ended.stderr);
}

#[test]
fn wrong_settings_are_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for line in [["--log", "a=b=c"], ["--http", "nowhere"], ["--upload-max", "much"], ["--public-url", "x"]] {
        let ended = Run::new(["node", "run"].iter().chain(&line)).in_folder(folder.path()).end().with_code(2);
        assert!(ended.stderr.contains(line[1]), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_not_there_cannot_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Run::new(["verify", "--data-dir", "none"]).in_folder(folder.path()).end().with_code(3);
    assert!(ended.stderr.contains("none"), "{}", ended.stderr);
}
