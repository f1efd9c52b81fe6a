//! Holds the shape of the workspace: which crate and module may know which, who may name a library,
//! and the house rules about files that a reader would otherwise have to check by eye.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use source::{crate_edges, cycle, names, workspace};

/// Which crate of this workspace may use which.
const CRATES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("node", &["assetmesh-protocol"]),
    ("http-api", &["assetmesh-node", "assetmesh-protocol"]),
    ("cli", &["assetmesh-http-api", "assetmesh-node", "assetmesh-protocol"]),
    ("tests", &["assetmesh-protocol"]),
];

/// Libraries that decide what a crate is, and the crates that may depend on them.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("redb", &["node"]),
    ("libp2p", &["node"]),
    ("libp2p-stream", &["node"]),
    ("libp2p-identity", &["node"]),
    ("axum", &["http-api", "cli"]),
    ("hyper", &["http-api"]),
    ("hyper-util", &["http-api"]),
    ("tower-http", &["http-api"]),
    ("multer", &["http-api"]),
    ("utoipa", &["http-api"]),
    ("utoipa-axum", &["http-api"]),
    ("utoipa-swagger-ui", &["http-api"]),
    ("bincode", &["protocol"]),
    ("pcre2", &["protocol"]),
    ("tokio", &["node", "http-api", "cli"]),
    ("clap", &["cli", "tests"]),
    ("reqwest", &["cli"]),
    ("tracing-subscriber", &["cli"]),
];

type OnPath = fn(&str) -> bool;

/// Where a library may be named in code.
const NAMED_IN: &[(&str, OnPath)] = &[
    ("redb", |path| path.starts_with("node/src/storage") || path.ends_with("/tables.rs")),
    ("libp2p", |path| path.starts_with("node/src/swarm")),
    ("axum", |path| path.starts_with("http-api/") || path.starts_with("cli/")),
    ("bincode", |path| path == "protocol/src/codec.rs"),
];

/// Which module of `node` may use which: handles point down only.
const NODE_MODULES: &[(&str, &[&str])] = &[
    ("actor", &[]),
    ("clock", &[]),
    ("identity", &[]),
    ("storage", &[]),
    ("blobs", &["actor", "clock", "storage"]),
    ("catalog", &["actor", "blobs", "clock", "storage"]),
    ("sweeper", &["actor", "blobs", "catalog"]),
    ("verify", &["blobs", "catalog", "storage"]),
    ("node", &["actor", "blobs", "catalog", "clock", "identity", "storage", "sweeper", "verify"]),
];

const LINES_MAX: usize = 500;

#[test]
fn crates_depend_downwards_only() {
    for (name, allowed) in CRATES {
        for dependency in dependencies(name) {
            let local = dependency.starts_with("assetmesh");
            assert!(!local || allowed.contains(&dependency.as_str()), "{name} uses {dependency}");
        }
    }
}

#[test]
fn a_library_belongs_to_its_crates() {
    for (name, _) in CRATES {
        for dependency in dependencies(name) {
            let owners = LIBRARIES.iter().find(|(library, _)| *library == dependency);
            let allowed = owners.is_none_or(|(_, owners)| owners.contains(name));
            assert!(allowed, "{name} depends on {dependency}, which only {owners:?} may");
        }
    }
}

#[test]
fn a_library_is_named_where_it_is_wrapped_and_nowhere_else() {
    let mut found = BTreeSet::new();
    for file in workspace() {
        for (library, allowed) in NAMED_IN {
            if names(&file.code, library) {
                assert!(allowed(&file.path), "{} names {library}", file.path);
                found.insert(*library);
            }
        }
    }
    assert!(found.contains("redb") && found.contains("axum"), "nothing was read: {found:?}");
}

#[test]
fn modules_of_the_node_point_down_only() {
    let edges = crate_edges(workspace(), "node");
    assert!(edges.len() > 3, "nothing was read: {edges:?}");
    for (from, targets) in edges {
        let (_, allowed) = NODE_MODULES
            .iter()
            .find(|(module, _)| *module == from)
            .unwrap_or_else(|| panic!("node::{from} has no line in the table of arrows"));
        for target in targets {
            assert!(allowed.contains(&target.as_str()), "node::{from} uses node::{target}");
        }
    }
}

#[test]
fn no_module_depends_on_itself_through_others() {
    for (name, _) in CRATES {
        let edges = crate_edges(workspace(), name);
        assert_eq!(cycle(&edges), None, "modules of {name} in a circle");
    }
}

#[test]
fn the_table_of_arrows_has_no_circle_itself() {
    let table: BTreeMap<String, BTreeSet<String>> = NODE_MODULES
        .iter()
        .map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect()))
        .collect();
    assert_eq!(cycle(&table), None);
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in workspace() {
        assert!(file.text.starts_with("//! "), "{} does not begin with //!", file.path);
    }
}

#[test]
fn files_are_small_and_named_after_their_module() {
    for file in workspace() {
        assert!(!file.path.ends_with("/mod.rs"), "{}: use name.rs beside name/", file.path);
        let lines = file.lines_without_tests();
        assert!(lines <= LINES_MAX, "{} has {lines} lines without its tests", file.path);
    }
}

#[test]
fn names_are_public_in_one_place_and_imported_one_by_one() {
    for file in workspace().iter().filter(|file| !file.is_test()) {
        for line in file.code.lines().map(str::trim_start) {
            let reexport = line.starts_with("pub use ") && !file.path.ends_with("src/lib.rs");
            assert!(!reexport || file.is_face_of(line), "{}: {line}", file.path);
            let glob = line.contains("use ") && line.ends_with("::*;");
            assert!(!glob, "{}: {line}", file.path);
        }
    }
}

#[test]
fn no_test_is_switched_off() {
    // In two halves, else this line would be found.
    let ignore = concat!("#[", "ignore");
    for file in workspace() {
        assert!(!file.text.contains(ignore), "{}: an ignored test proves nothing", file.path);
    }
}

/// All dependencies of a crate, of every kind.
fn dependencies(name: &str) -> BTreeSet<String> {
    let path = source::root().join(name).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|kind| manifest.get(kind)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}
