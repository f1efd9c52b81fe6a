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
    // The simulator runs the pure cores, and a lying peer is a node; everything else there drives the built binary.
    ("tests", &["assetmesh-node", "assetmesh-protocol"]),
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
    ("ed25519-dalek", &["protocol"]),
    ("pcre2", &["protocol"]),
    ("tokio", &["node", "http-api", "cli", "tests"]),
    ("jsonwebtoken", &["node"]),
    ("clap", &["cli", "tests"]),
    ("reqwest", &["http-api", "cli"]),
    ("tracing-subscriber", &["cli"]),
];

type OnPath = fn(&str) -> bool;

/// Where a library may be named in code.
const NAMED_IN: &[(&str, OnPath)] = &[
    ("redb", |path| {
        let is_tables = path.ends_with("/tables.rs") || path.contains("/tables/");
        path.starts_with("node/src/storage") || is_tables
    }),
    ("libp2p", |path| path.starts_with("node/src/swarm")),
    ("axum", |path| path.starts_with("http-api/") || path.starts_with("cli/")),
    ("bincode", |path| path == "protocol/src/codec.rs"),
];

/// Which module of `node` may use which: handles point down only.
const NODE_MODULES: &[(&str, &[&str])] = &[
    ("actor", &[]),
    ("blocking", &[]),
    ("clock", &[]),
    ("identity", &[]),
    ("permits", &[]),
    ("storage", &[]),
    ("blobs", &["actor", "clock", "storage"]),
    ("catalog", &["actor", "blobs", "blocking", "clock", "storage"]),
    ("swarm", &["actor", "clock", "identity"]),
    ("registry", &["actor", "blocking", "catalog", "clock", "identity", "permits", "storage", "swarm"]),
    ("members", &["actor", "registry"]),
    ("liveness", &["actor", "clock", "identity", "swarm"]),
    ("forgotten", &["actor", "liveness"]),
    ("summaries", &["actor", "catalog", "clock", "swarm"]),
    (
        "query",
        &[
            "actor",
            "blocking",
            "catalog",
            "clock",
            "forgotten",
            "liveness",
            "permits",
            "registry",
            "summaries",
            "swarm",
        ],
    ),
    ("fetch", &["actor", "blobs", "catalog", "liveness", "summaries", "swarm"]),
    ("nvcf", &["actor", "blobs", "catalog", "clock", "fetch", "liveness", "storage", "swarm"]),
    ("staging", &["actor"]),
    ("sweeper", &["actor", "blobs", "catalog"]),
    ("tokens", &["clock", "identity"]),
    ("mending", &["actor", "blobs", "fetch"]),
    ("verify", &["actor", "blobs", "catalog", "nvcf", "storage"]),
    (
        "node",
        &[
            "actor",
            "blobs",
            "catalog",
            "clock",
            "fetch",
            "forgotten",
            "identity",
            "liveness",
            "members",
            "mending",
            "nvcf",
            "query",
            "registry",
            "staging",
            "storage",
            "summaries",
            "swarm",
            "sweeper",
            "tokens",
            "verify",
        ],
    ),
    ("peers", &["clock", "forgotten", "identity", "liveness", "node", "registry"]),
];

const LINES_MAX: usize = 500;

#[test]
fn crates_depend_downwards_only() {
    let mut wrong = Vec::new();
    for (name, allowed) in CRATES {
        let local = dependencies(name).into_iter().filter(|used| used.starts_with("assetmesh"));
        wrong.extend(local.filter(|used| !allowed.contains(&used.as_str())).map(|used| (*name, used)));
    }
    assert!(wrong.is_empty(), "a crate uses what it may not: {wrong:?}");
}

#[test]
fn a_library_belongs_to_its_crates() {
    let mut wrong = Vec::new();
    for (name, _) in CRATES {
        wrong.extend(dependencies(name).into_iter().filter_map(|used| {
            let (library, owners) = LIBRARIES.iter().find(|(library, _)| *library == used)?;
            (!owners.contains(name)).then(|| format!("{name} depends on {library}, only {owners:?} may"))
        }));
    }
    assert_none(&wrong);
}

#[test]
fn a_library_is_named_where_it_is_wrapped_and_nowhere_else() {
    let mut found = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in workspace() {
        for (library, allowed) in NAMED_IN.iter().filter(|(library, _)| names(&file.code, library)) {
            found.insert(*library);
            if !allowed(&file.path) {
                wrong.push(format!("{} names {library}", file.path));
            }
        }
    }
    assert_none(&wrong);
    assert!(found.contains("redb") && found.contains("axum"), "nothing was read: {found:?}");
}

#[test]
fn modules_of_the_node_point_down_only() {
    let edges = crate_edges(workspace(), "node");
    assert!(edges.len() > 3, "nothing was read: {edges:?}");
    let mut wrong = Vec::new();
    for (from, targets) in &edges {
        match NODE_MODULES.iter().find(|(module, _)| module == from) {
            None => wrong.push(format!("node::{from} has no line in the table of arrows")),
            Some((_, allowed)) => {
                let others = targets.iter().filter(|target| !allowed.contains(&target.as_str()));
                wrong.extend(others.map(|target| format!("node::{from} uses node::{target}")));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_module_depends_on_itself_through_others() {
    let circles: Vec<String> = CRATES
        .iter()
        .filter_map(|(name, _)| {
            let circle = cycle(&crate_edges(workspace(), name))?;
            Some(format!("in {name}: {}", circle.join(" uses ")))
        })
        .collect();
    assert_none(&circles);
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
    let silent = workspace().iter().filter(|file| !file.text.starts_with("//! "));
    assert_none(&silent.map(|file| format!("{} does not begin with //!", file.path)).collect::<Vec<_>>());
}

#[test]
fn files_are_small_and_named_after_their_module() {
    let mut wrong = Vec::new();
    for file in workspace() {
        let lines = file.lines_without_tests();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines without its tests", file.path));
        }
        if file.path.ends_with("/mod.rs") {
            wrong.push(format!("{}: use name.rs beside name/", file.path));
        }
    }
    assert_none(&wrong);
}

#[test]
fn names_are_public_in_one_place_and_imported_one_by_one() {
    let mut wrong = Vec::new();
    for file in workspace().iter().filter(|file| !file.path.ends_with("src/lib.rs")) {
        for line in file.code.lines().map(str::trim_start) {
            let reexport = line.starts_with("pub use ") && !file.is_face_of(line);
            let glob = line.contains("use ") && line.ends_with("::*;");
            if reexport || glob {
                wrong.push(format!("{}: {line}", file.path));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn no_test_is_switched_off() {
    // In two halves, else this line would be found.
    let ignore = concat!("#[", "ignore");
    let off = workspace().iter().filter(|file| file.text.contains(ignore));
    assert_none(&off.map(|file| format!("{} ignores a test", file.path)).collect::<Vec<_>>());
}

/// Shows all of them at once.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
