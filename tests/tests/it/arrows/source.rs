//! Reads Rust source just closely enough: which module names which, without comments and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One file of the workspace.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// From the root of the workspace.
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// Without comments, and without what only tests see.
    pub(super) code: String,
}

impl SourceFile {
    fn new(path: String, text: String) -> Self {
        let test_only = is_test_path(&path);
        let code = if test_only { String::new() } else { code_of(&text) };
        Self { path, text, code }
    }

    pub(super) fn is_test(&self) -> bool {
        is_test_path(&self.path)
    }

    /// True for a `pub use` in `name.rs` of what is in its own folder `name/`: one public face of several
    /// files. Anything else has one public place, which is `lib.rs`.
    pub(super) fn is_face_of(&self, line: &str) -> bool {
        let path = self.path.split_once("/src/").map_or("", |(_, path)| path);
        let module = path.trim_end_matches(".rs").replace('/', "::");
        let name = line.trim_start_matches("pub use ").trim_start_matches("self::");
        let own = name.strip_prefix(&format!("crate::{module}::")).unwrap_or(name);
        let child = format!("mod {};", first_name(own));
        self.code.lines().any(|line| line.trim_start().ends_with(&child))
    }

    /// Comments count: they have to be read too.
    pub(super) fn lines_without_tests(&self) -> usize {
        if self.is_test() {
            return 0;
        }
        self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
    }
}

/// `x/tests.rs`, `x/crash_tests.rs`, `x/test_disk.rs`, and everything in a folder for tests.
fn is_test_path(path: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    stem == "tests"
        || stem.ends_with("_tests")
        || stem.starts_with("test_")
        || path.contains("/tests/")
        || path.contains("_tests/")
        || path.contains("/benches/")
        || path.contains("/examples/")
}

/// The root of the workspace.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Rust file of the five crates.
pub(super) fn workspace() -> &'static [SourceFile] {
    static FILES: OnceLock<Vec<SourceFile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = Vec::new();
        for name in ["protocol", "node", "http-api", "cli", "tests"] {
            read_folder(&root().join(name), name, &mut files);
        }
        files
    })
}

fn read_folder(folder: &Path, path: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{path}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "target" {
                read_folder(&entry.path(), &path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(SourceFile::new(path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// Drops line comments, and everything from the first `#[cfg(test)]` before a module to the end: tests
/// stand last in a file.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let test = line.trim() == "#[cfg(test)]";
        if test && lines.peek().is_some_and(|next| next.contains("mod ") && next.ends_with('{')) {
            break;
        }
        if test {
            // A declaration like `mod tests;`: only that line is for tests.
            lines.next();
            continue;
        }
        let line = if line.trim_start().starts_with("//") { "" } else { line };
        code.push_str(line.split(" // ").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// True if code uses a library by its path.
pub(super) fn names(code: &str, library: &str) -> bool {
    let path = format!("{library}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

/// Which top-level module of a crate uses which others.
pub(super) fn crate_edges(files: &[SourceFile], name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let start = format!("{name}/src/");
    let inside: Vec<(&SourceFile, Vec<&str>)> = files
        .iter()
        .filter(|file| !file.is_test())
        .filter_map(|file| {
            let path = file.path.strip_prefix(&start)?.strip_suffix(".rs")?;
            let parts: Vec<&str> = path.split('/').collect();
            let root = parts.len() == 1 && matches!(parts[0], "lib" | "main");
            (!root && parts[0] != "bin").then_some((file, parts))
        })
        .collect();
    let known: BTreeSet<&str> = inside.iter().map(|(_, parts)| parts[0]).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, parts) in &inside {
        let targets = edges.entry(parts[0].to_owned()).or_default();
        let climb = "super::".repeat(parts.len());
        let used = [used_after(&file.code, "crate::"), used_after(&file.code, &climb)].concat();
        let others = used.into_iter().filter(|used| used != parts[0] && known.contains(used.as_str()));
        targets.extend(others);
    }
    edges
}

/// The first name after each `prefix`, and each first name of a group in braces.
fn used_after(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        // `super::super::` also contains `super::`; only a whole prefix counts.
        if code[..at].ends_with("::") || code[..at].ends_with(|c: char| c.is_alphanumeric()) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_names(group)),
            None => found.push(first_name(rest)),
        }
    }
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn first_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![first_name(group)];
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(first_name(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

/// A circle of modules, if there is one: each uses the next, and the last the first.
pub(super) fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut left = edges.clone();
    // Take away what uses nothing that is left, until that is all or nothing more can go.
    loop {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, targets| {
            targets.retain(|target| names.contains(target));
            !targets.is_empty()
        });
        if left.len() == before {
            break;
        }
    }
    // All that is left uses something that is left, so a walk comes back to where it was.
    let mut walk: Vec<String> = vec![left.keys().next()?.clone()];
    loop {
        let next = left[walk.last()?].first()?;
        if let Some(start) = walk.iter().position(|name| name == next) {
            return Some(walk.split_off(start));
        }
        walk.push(next.clone());
    }
}

mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile::new(path.to_owned(), text.to_owned())
    }

    #[test]
    fn edges_are_found_in_every_form_of_use() {
        let files = [
            file("x/src/lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
            file("x/src/a.rs", "//! A\nuse crate::{b::B, c::{C, D}};\nfn f() { crate::d::g() }"),
            file("x/src/a/inner.rs", "use super::super::e::E;\nuse super::helper;"),
            file("x/src/b.rs", "// crate::a\nuse super::c;\n#[cfg(test)]\nmod tests {\nuse crate::d;\n}"),
            file("x/src/c.rs", "#[cfg(test)]\nmod tests;\nuse crate::d::G;"),
            file("x/src/c/tests.rs", "use crate::a;"),
            file("x/src/d.rs", ""),
            file("x/src/e.rs", ""),
        ];
        let edges = crate_edges(&files, "x");
        let of = |module: &str| edges[module].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(of("a"), ["b", "c", "d", "e"]);
        assert_eq!(of("b"), ["c"]);
        assert_eq!(of("c"), ["d"]);
        assert_eq!(cycle(&edges), None);
    }

    #[test]
    fn a_circle_is_found() {
        let edges = BTreeMap::from([
            ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
            ("b".to_owned(), BTreeSet::from(["c".to_owned()])),
            ("c".to_owned(), BTreeSet::from(["b".to_owned()])),
            ("d".to_owned(), BTreeSet::new()),
        ]);
        assert_eq!(cycle(&edges), Some(vec!["b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn a_library_is_named_by_its_path_only() {
        assert!(names("use redb::Database;", "redb"));
        assert!(names("fn f() -> redb::Error {", "redb"));
        assert!(!names("my_redb::x; a::redb::y", "redb"));
        assert!(!names("libp2p_identity::Keypair", "libp2p"));
        assert!(!names(&file("x/src/a.rs", "/// [`redb::X`]\n").code, "redb"));
    }

    #[test]
    fn a_module_may_show_its_own_folder_only() {
        let face = file("x/src/a/b.rs", "mod inner;\npub(crate) mod more;\n");
        assert!(face.is_face_of("pub use inner::A;"));
        assert!(face.is_face_of("pub use crate::a::b::more::{A, B};"));
        assert!(!face.is_face_of("pub use crate::a::c::A;"));
        assert!(!face.is_face_of("pub use super::c::A;"));
        assert!(!face.is_face_of("pub use std::fmt::Debug;"));
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let text = "//! A\nfn f() {}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(file("x/src/a.rs", text).lines_without_tests(), 2);
        assert_eq!(file("x/src/a_tests.rs", text).lines_without_tests(), 0);
    }
}
