//! Holds what the compiler does not: the direction of every arrow between modules, and the style that
//! `docs/architecture.md` promises. Each rule is also shown a planted fault that it must find.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of the house, ground first. A module may name modules on lower floors only, never its
/// neighbours. `store` is what the engines and the core say to each other; an engine stands higher.
const FLOORS: [&[&str]; 14] = [
    &["model"],
    &["sdp", "guardrails"],
    &["media", "config"],
    &["events", "trace"],
    &["leg", "store"],
    &["sip", "webrtc", "call"],
    &["switch"],
    &["store::engine"],
    &["store::sqlite", "store::postgres"],
    &["store::open"],
    &["api"],
    &["server"],
    &["cli"],
    &["main"],
];

/// Crates that do I/O, read clocks or hold threads, and the only places that may name them.
const EDGE: [&str; 7] = ["api", "server", "store::engine", "store::sqlite", "store::postgres", "cli", "main"];
const EDGE_CRATES: [&str; 19] = [
    "aya",
    "tokio",
    "axum",
    "hyper",
    "hyper_util",
    "tower",
    "libc",
    "socket2",
    "mio",
    "rusqlite",
    "postgres",
    "tokio_postgres",
    "rustls",
    "tokio_rustls",
    "getrandom",
    "metrics",
    "tracing",
    "anyhow",
    "clap",
];
/// `anyhow` is for those who start and stop the program.
const ANYHOW: [&str; 3] = ["server", "cli", "main"];

const MAX_LINES: usize = 800;
/// A file longer than this says at its top what it is for.
const MAX_LINES_WITHOUT_DOC: usize = 60;

/// A file as the rules see it.
struct Source {
    path: String,
    module: String,
    /// With comments and literals blanked, line by line as before.
    code: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), module: module_of(path), code: blank(text), text: text.to_owned() }
    }
}

/// `src/sip/wire/scan.rs` → `sip`, `src/store/sqlite/mod.rs` → `store::sqlite`.
fn module_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs").trim_end_matches("/mod");
    floored(&inside.replace('/', "::")).map_or_else(|| inside.to_owned(), |(name, _)| name.to_owned())
}

/// The longest floor entry that `path` is or lies in, with its floor.
fn floored(path: &str) -> Option<(&'static str, usize)> {
    FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, names)| names.iter().map(move |name| (*name, floor)))
        .filter(|(name, _)| path == *name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
        .max_by_key(|(name, _)| name.len())
}

/// Replaces comments, strings and character literals by spaces, keeping every line where it is.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |from: usize, what: &[u8]| {
        rest[from..].windows(what.len()).position(|w| w == what).map_or(bytes.len(), |i| at + from + i + what.len())
    };
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| at + i),
        [b'/', b'*', ..] => find(2, b"*/"),
        [b'r', b'"', ..] if !after_word => find(2, b"\""),
        [b'r', b'#', b'"', ..] if !after_word => find(3, b"\"#"),
        [b'"', ..] => string_end(bytes, at),
        [b'\'', b'\\', _, ..] => find(3, b"'"),
        [b'\'', _, b'\'', ..] => at + 3,
        _ => at,
    }
}

fn string_end(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Every path that the code takes from the crate's root: `crate::a::b`, and each branch of
/// `crate::{a::b, c}`.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for root in ["crate::", "revbridge::"] {
        for (at, _) in code.match_indices(root) {
            let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            if whole {
                expand("", &code[at + root.len()..], &mut paths);
            }
        }
    }
    paths
}

/// Reads one use tree and adds its paths; returns how much of `code` it took.
fn expand(prefix: &str, code: &str, paths: &mut Vec<String>) -> usize {
    let word = code.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(code.len());
    let path = format!("{prefix}{}", &code[..word]);
    if !code[word..].starts_with('{') {
        paths.push(path.trim_end_matches(':').to_owned());
        return word;
    }
    let mut at = word + 1;
    while at < code.len() && !code[at..].starts_with('}') {
        let skip = code[at..].find(|c: char| c != ',' && !c.is_whitespace()).unwrap_or(code.len() - at);
        at += skip;
        if at < code.len() && !code[at..].starts_with('}') {
            at += expand(&path, &code[at..], paths).max(1);
        }
    }
    at + 1
}

/// Arrows that run up, sideways, or to a module that is on no floor.
fn arrows(source: &Source) -> Vec<String> {
    if matches!(source.path.as_str(), "src/lib.rs") {
        return Vec::new();
    }
    let Some((_, own)) = floored(&source.module) else {
        return vec![format!("`{}` is on no floor", source.module)];
    };
    let mut faults: Vec<String> = crate_paths(&source.code)
        .into_iter()
        .filter_map(|path| {
            let (target, floor) = floored(&path)?;
            // A module and its engine share a name, not a floor: `store` must not name `store::sqlite`.
            let allowed = target == source.module || floor < own;
            (!allowed).then(|| format!("`{}` must not know `{target}`", source.module))
        })
        .collect();
    faults.sort();
    faults.dedup();
    faults
}

/// Uses of a crate of the edge outside of the edge.
fn edge(source: &Source) -> Vec<String> {
    EDGE_CRATES
        .iter()
        .filter(|name| {
            let places: &[&str] = if **name == "anyhow" { &ANYHOW } else { &EDGE };
            !places.contains(&source.module.as_str()) && names_crate(&source.code, name)
        })
        .map(|name| format!("`{name}` belongs to the shell"))
        .collect()
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let free = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.');
        free && code[at + name.len()..].starts_with("::")
    })
}

fn style(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        faults.push(format!("{lines} lines; split it"));
    }
    let tests = source.path.ends_with("/tests.rs");
    if source.path.starts_with("src/") && !tests && lines > MAX_LINES_WITHOUT_DOC && !source.text.starts_with("//!") {
        faults.push("no `//!` that says what it is for".to_owned());
    }
    for word in ["TODO", "FIXME", "XXX", "HACK"] {
        if source.text.contains(word) {
            faults.push(format!("{word}: do it or file it"));
        }
    }
    if source.code.contains("#[ignore") {
        faults.push("an ignored test proves nothing".to_owned());
    }
    faults.extend(unexplained_unsafe(source));
    faults.extend(catch_alls(source));
    faults
}

/// `unsafe` lives in the shell, and each use says why it is sound.
fn unexplained_unsafe(source: &Source) -> Vec<String> {
    let text: Vec<&str> = source.text.lines().collect();
    let uses = source.code.lines().enumerate().filter(|(_, line)| line.contains("unsafe "));
    uses.filter_map(|(at, _)| {
        let explained = text[at.saturating_sub(4)..=at].iter().any(|line| line.contains("// SAFETY:"));
        if source.path.starts_with("src/") && source.module != "server" {
            Some(format!("line {}: unsafe outside of the shell", at + 1))
        } else {
            (!explained).then(|| format!("line {}: unsafe without a SAFETY comment", at + 1))
        }
    })
    .collect()
}

/// A machine that ends in a catch-all swallows the event that nobody thought of.
fn catch_alls(source: &Source) -> Vec<String> {
    if !["call", "switch"].contains(&source.module.as_str()) {
        return Vec::new();
    }
    let silent = ["_ => {}", "_ => (),", "_ => return,", "_ => vec![]", "_ => Vec::new()"];
    let lines = source.code.lines().enumerate();
    lines
        .filter(|(_, line)| silent.iter().any(|arm| line.trim_start().starts_with(arm)))
        .map(|(at, _)| format!("line {}: a catch-all arm that does nothing", at + 1))
        .collect()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&root().join(folder), &mut files);
    }
    files.sort();
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(root()).unwrap_or(file).to_string_lossy().into_owned();
            Source::new(&path, &fs::read_to_string(file).expect("source files are readable"))
        })
        .collect()
}

fn report(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    let mut faults = String::new();
    for source in sources {
        for fault in rule(source) {
            let _ = writeln!(faults, "{}: {fault}", source.path);
        }
    }
    assert!(!sources.is_empty(), "no source found");
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn no_arrow_runs_up() {
    report(&sources(&["src"]), arrows);
}

#[test]
fn the_core_names_no_crate_of_the_shell() {
    report(&sources(&["src"]), edge);
}

#[test]
fn files_are_tidy() {
    // This file names what it forbids.
    let all = sources(&["src", "tests", "benches", "examples", "fuzz/fuzz_targets"]);
    let others: Vec<Source> = all.into_iter().filter(|source| source.path != "tests/tidy.rs").collect();
    report(&others, style);
}

/// Whether two versions of a place stand side by side.
fn is_unfinished_merge(text: &str) -> bool {
    text.lines().any(|line| ["<".repeat(7), ">".repeat(7)].iter().any(|mark| line.starts_with(&format!("{mark} "))))
}

#[test]
fn no_file_holds_an_unfinished_merge() {
    assert!(is_unfinished_merge("one\n<<<<<<< HEAD\ntwo") && !is_unfinished_merge("one << 7\n=======\n"));
    let mut found = Vec::new();
    for name in ["src", "tests", "benches", "examples", "fuzz/fuzz_targets", "docs", "scripts", "sipp-scenarios"]
        .into_iter()
        .chain(["sdk/src", "sdk/test", "sdk/README.md", "Makefile", "README.md", "CHANGELOG.md", "Cargo.toml", ".ci"])
    {
        walk(&root().join(name), &mut |path, text| {
            if !path.ends_with("tests/tidy.rs") && is_unfinished_merge(text) {
                found.push(path.display().to_string());
            }
        });
    }
    assert!(found.is_empty(), "unfinished merges in {found:?}");
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    // Where this checkout lies, and where people's own folders are.
    let homes = [root().to_string_lossy().into_owned(), "/root/".to_owned(), "/home/".to_owned()];
    let mut found = Vec::new();
    for name in ["src", "tests", "examples", "docs", "scripts", "sipp-scenarios", "Makefile", "README.md", ".ci"] {
        walk(&root().join(name), &mut |path, text| {
            let own = path.ends_with("tests/tidy.rs");
            if !own && homes.iter().any(|home| text.contains(home.as_str())) {
                found.push(path.display().to_string());
            }
        });
    }
    assert!(found.is_empty(), "paths of one machine in {found:?}");
}

fn walk(path: &Path, seen: &mut impl FnMut(&Path, &str)) {
    if let Ok(entries) = fs::read_dir(path) {
        entries.flatten().for_each(|entry| walk(&entry.path(), seen));
    } else if let Ok(text) = fs::read_to_string(path) {
        seen(path, &text);
    }
}

/// Whether the code defines `name`: a function, type, constant or trait, or something for a type of that name.
fn defines(code: &str, name: &str) -> bool {
    ["fn", "struct", "enum", "const", "static", "type", "trait", "impl"].iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
            let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            edge(code[..at].chars().next_back()) && edge(code[at + found.len()..].chars().next())
        })
    })
}

/// Each `file.rs::item` and each scenario that a page names between backticks and that is not there. What is
/// named under `tests` is a function.
fn missing_items(page: &str) -> Vec<String> {
    let is_missing = |word: &&str| {
        if word.starts_with("sipp-scenarios/") && word.ends_with(".xml") {
            return !root().join(word).is_file();
        }
        word.split_once(".rs::").is_some_and(|(file, name)| {
            let text = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
            if file.starts_with("tests/") {
                !text.contains(&format!("fn {name}("))
            } else {
                !defines(&blank(&text), name)
            }
        })
    };
    page.split('`').filter(is_missing).map(str::to_owned).collect()
}

#[test]
fn what_pages_name_of_code_and_tests_is_there() {
    let planted = "`tests/tidy.rs::root` `tests/tidy.rs::gone` `tests/tidy.rs::Source` `x.rs::y` `src/leg.rs::Leg` \
                   `src/sip/endpoint.rs::Endpoint` `sipp-scenarios/not_there.xml` `sipp-scenarios/wrong_branch.xml`";
    let missing =
        ["tests/tidy.rs::gone", "tests/tidy.rs::Source", "x.rs::y", "src/leg.rs::Leg", "sipp-scenarios/not_there.xml"];
    assert_eq!(missing_items(planted), missing);
    let mut missing = Vec::new();
    walk(&root().join("docs"), &mut |path, text| {
        if path.extension().is_some_and(|ending| ending == "md") {
            missing.extend(missing_items(text).into_iter().map(|name| format!("{}: {name}", path.display())));
        }
    });
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_changelog_names_this_version() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(changelog.lines().any(|line| line.starts_with(&heading)), "no heading {heading:?}");
}

#[test]
fn every_floor_above_the_ground_is_in_the_architecture() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md");
    for name in FLOORS.iter().flat_map(|names| names.iter()).filter(|name| !name.contains("::")) {
        assert!(page.contains(&format!("`{name}`")), "docs/architecture.md does not speak of `{name}`");
    }
}

#[test]
fn planted_faults_are_found() {
    let faults = |path: &str, text: &str| -> Vec<String> {
        let source = Source::new(path, text);
        [arrows(&source), edge(&source), style(&source)].concat()
    };
    for (path, text) in [
        ("src/call/mod.rs", "use crate::sip::Flow;"),
        ("src/call/mod.rs", "use crate::{model::Side, switch::{Input, Output}};"),
        ("src/sip/uac/state.rs", "fn f(c: crate::call::Call) {}"),
        ("src/model/id.rs", "use crate::sdp;"),
        ("src/store/mod.rs", "use crate::store::sqlite::SqliteStore;"),
        ("src/store/sqlite/mod.rs", "use crate::store::postgres::PostgresStore;"),
        ("src/store/postgres/mod.rs", "use crate::store::open;"),
        ("src/switch/mod.rs", "let _ = tokio::spawn(async {});"),
        ("src/store/mod.rs", "use anyhow::Result;"),
        ("src/strange/mod.rs", ""),
        ("src/call/state.rs", "match event {\n    _ => {}\n}"),
        ("src/server/poll.rs", "let x = unsafe { f() };"),
        ("src/sip/mod.rs", "// SAFETY: none\nlet x = unsafe { f() };"),
        ("tests/x.rs", "#[ignore]\nfn f() {}"),
        ("src/sdp/mod.rs", &"fn f() {}\n".repeat(MAX_LINES_WITHOUT_DOC + 1)),
        ("src/sdp/mod.rs", &format!("//! Doc.\n{}", "\n".repeat(MAX_LINES))),
        ("src/sdp/mod.rs", "// FIXME"),
    ] {
        assert!(!faults(path, text).is_empty(), "not found in {path}: {text}");
    }
    for (path, text) in [
        ("src/switch/mod.rs", "use crate::{call::Call, sip::{Endpoint, Flow}, store::Commit};"),
        (
            "src/call/mod.rs",
            "// crate::sip is not known here\nlet text = \"crate::sip\"; let c = '\"'; use crate::leg;",
        ),
        ("src/store/sqlite/mod.rs", "use crate::store::Commit; use rusqlite::Connection;"),
        ("src/main.rs", "use revbridge::server;"),
        ("src/server/poll.rs", "// SAFETY: no pointer.\nlet x = unsafe { f() };"),
    ] {
        assert_eq!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
