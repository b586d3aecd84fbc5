//! Checks of the source code, such as imports between rooms (the top-level modules of the crate), lengths of
//! functions, widths of comments, and names.

mod imports;

use imports::Graph;
use std::path::{Path, PathBuf};

const FUNCTION_LINES_MAX: usize = 70;

/// Each room with the rooms that it may import. `docs/architecture.md` has the same table.
const ROOMS: &[(&str, &[&str])] = &[
    ("two_slots", &[]),
    ("clock", &["two_slots"]),
    ("config", &["relevance"]),
    ("secret", &["clock"]),
    ("telemetry", &[]),
    ("tls", &["telemetry", "clock", "secret"]),
    ("fetch", &[]),
    ("domain", &[]),
    ("relevance", &[]),
    ("roles", &[]),
    ("bounds", &["domain", "roles"]),
    ("store", &["two_slots"]),
    ("ledger", &["store", "clock", "telemetry", "secret", "two_slots"]),
    ("witness", &["ledger", "clock", "secret", "telemetry"]),
    ("monitor", &["witness"]),
    ("vault", &["domain", "store", "clock", "secret"]),
    ("audit", &["domain", "ledger", "store"]),
    ("package", &["domain"]),
    (
        "app",
        &[
            "domain",
            "relevance",
            "bounds",
            "ledger",
            "vault",
            "audit",
            "package",
            "clock",
            "secret",
            "telemetry",
            "store",
        ],
    ),
    ("api", &["app", "audit", "roles", "package", "domain", "telemetry", "clock", "secret", "proto", "tls"]),
    ("web", &["app", "domain", "roles", "telemetry", "tls", "witness"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    files_with_ending(dir, "rs")
}

fn files_with_ending(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let all = crate::harness::files_below(dir);
    all.into_iter().filter(|path| path.extension().is_some_and(|end| end == ending)).collect()
}

fn room_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without its test module.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn rooms_import_only_the_rooms_that_the_table_allows() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        let room = room_of(&path);
        let is_test = path.file_name().is_some_and(|name| name.to_string_lossy().contains("tests"));
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room).filter(|_| !is_test) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        for used in without_tests(&text).split("crate::").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name != room && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: {room} uses {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let exempt = ["cli", "daemon", "fuzzing", "lib", "main"];
    for path in sources(&root().join("src")) {
        let room = room_of(&path);
        let listed = exempt.contains(&room.as_str()) || ROOMS.iter().any(|(name, _)| *name == room);
        assert!(listed, "{room}");
    }
}

/// Rooms whose results others recompute. Their results must not depend on the iteration order of a hash map,
/// which differs between processes. These rooms use ordered maps. Where a room uses a hash map, a comment
/// that begins with [`UNORDERED_MARK`] must give the reason, on the same line or the line above.
const ORDERED: &[&str] = &["src/bounds", "src/domain", "crates/proof/src/replay"];
const UNORDERED_MARK: &str = "// Unordered: ";

#[test]
fn no_result_depends_on_the_order_of_a_hash_map() {
    let mut wrong = Vec::new();
    let files = ORDERED.iter().flat_map(|room| sources(&root().join(room)));
    for path in files.filter(|path| !path.components().any(|part| part.as_os_str() == "tests")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut above = "";
        for (number, line) in without_tests(&text).lines().enumerate() {
            let names = ["HashMap", "HashSet"].iter().any(|name| line.contains(name));
            // Imports need no such comment. A field has the comment where its type is declared.
            let needs_no_mark = line.starts_with("use ") || line.trim_end().ends_with(": HashMap::new(),");
            let marked = [line, above].iter().any(|line| line.contains(UNORDERED_MARK));
            if names && !needs_no_mark && !marked {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
            above = line;
        }
    }
    let rule = format!("use a BTreeMap or BTreeSet, or say why with `{UNORDERED_MARK}REASON`");
    assert!(wrong.is_empty(), "{rule}\n{}", wrong.join("\n"));
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for path in sources(&root().join("src")).into_iter().chain(sources(&root().join("crates/proof/src"))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut start: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let begins = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ");
            let begins = begins.trim_start_matches("pub(crate) ").trim_start_matches("async ");
            if start.is_none() && begins.starts_with("fn ") && !line.trim_end().ends_with(';') {
                start = Some((number, indent, begins.to_owned()));
            }
            let ended =
                start.as_ref().is_some_and(|(_, at, _)| line.trim_end() == format!("{}}}", " ".repeat(*at)));
            if ended && let Some((first, _, name)) = start.take() {
                let lines = number - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    long.push(format!("{}:{} {name} ({lines} lines)", path.display(), first + 1));
                }
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// What only some files may do: the folder, the calls that do it, the files that may, and why only they.
const IN_ONE_PLACE: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "src",
        &[
            "PolicySet::from_",
            "Policy::parse",
            "Policy::from_",
            "Template::",
            "Schema::from_",
            "Entities::from_json",
        ],
        &["bounds/policy_text/parse.rs"],
        "policies are parsed after a check of their text, and on a large enough stack",
    ),
    // At the start, `open.rs` reads the rotations of the log's key before there is a `Core`.
    (
        "src/app",
        &[".read_entry("],
        &["app/log/read.rs", "app/open.rs"],
        "events are read, and erased ones recognized, in one way",
    ),
    // A restore writes a placeholder for each entry that was discarded before the backup.
    (
        "src/app",
        &["entry::seal(", "entry::plain("],
        &["app/log/signed_frame.rs", "app/operations/restore.rs"],
        "events are appended in one way",
    ),
];

#[test]
fn what_has_one_place_is_done_there_only() {
    let mut wrong = Vec::new();
    for (folder, calls, files, why) in IN_ONE_PLACE {
        for path in sources(&root().join(folder)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_test = path.components().any(|part| part.as_os_str() == "tests");
            let is_allowed = is_test || files.iter().any(|file| path.ends_with(file));
            if !is_allowed && calls.iter().any(|call| without_tests(&text).contains(call)) {
                wrong.push(format!("{}: {why}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The tests of a file are in the file itself. If they are long, they are in `FILE/tests.rs`, and those of a
/// folder in `FOLDER/tests.rs`, with further files in `tests/` beside it.
#[test]
fn unit_tests_have_one_layout() {
    let mut wrong = Vec::new();
    for path in ["src", "crates/proof/src"].iter().flat_map(|src| sources(&root().join(src))) {
        let (text, name) = (std::fs::read_to_string(&path).unwrap(), path.to_string_lossy());
        if name.ends_with("_tests.rs") || name.ends_with("/tests/mod.rs") || text.contains("#[path = ") {
            wrong.push(name.into_owned());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    for src in ["src", "crates/proof/src"] {
        let cycles = Graph::read(&root().join(src)).cycles();
        assert!(cycles.is_empty(), "{src}: {}", cycles.join("\n"));
    }
}

#[test]
fn the_diagram_of_the_rooms_in_the_architecture_page_is_current() {
    let diagram = Graph::read(&root().join("src")).diagram();
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    assert!(page.contains(&diagram), "the diagram in docs/architecture.md should be:\n{diagram}");
}

/// Code imports an item from the room that defines it.
#[test]
fn no_room_exports_items_of_another_room() {
    let reexports = Graph::read(&root().join("src")).reexports;
    assert!(reexports.is_empty(), "{reexports:#?}");
}

/// File names of earlier versions whose meaning a newcomer cannot guess. These files have ordinary names now.
const PRIVATE_FILES: &[&str] = &[
    "alike",
    "anchor",
    "bells",
    "book",
    "circumstances",
    "desk",
    "due",
    "edit",
    "falls",
    "fell",
    "gate",
    "gather",
    "given",
    "given_again",
    "held",
    "known",
    "known_grants",
    "lane",
    "line",
    "look",
    "looks",
    "loops",
    "mark",
    "marker",
    "nobody",
    "plain",
    "refusals",
    "remembered",
    "ring",
    "seats",
    "served",
    "shelf",
    "shown",
    "steady",
    "steps",
    "story",
    "sweep",
    "told",
    "trial",
    "turns",
    "validity",
    "weighed",
    "words",
];
/// Type names of earlier versions whose meaning a newcomer cannot guess.
const PRIVATE_TYPES: &[&str] = &[
    "Alike",
    "Anchor",
    "Begin",
    "Bells",
    "Book",
    "Circumstances",
    "Desk",
    "Door",
    "Fallen",
    "Falls",
    "GivenLately",
    "Hearing",
    "Held",
    "KnownGrants",
    "Lane",
    "Lanes",
    "Look",
    "Pace",
    "Planned",
    "Refusals",
    "Remembered",
    "RightsRequest",
    "Seats",
    "Shelf",
    "Stamp",
    "Steady",
    "Story",
    "Sweep",
    "Told",
    "Trial",
    "Turn",
    "Turns",
    "Validity",
    "Weighed",
];

/// The names that follow these words in a text.
fn declared<'t>(text: &'t str, words: &'t [&str]) -> impl Iterator<Item = String> + 't {
    text.lines().filter_map(|line| {
        let rest = words.iter().find_map(|word| line.split_once(word)).map(|(_, rest)| rest)?;
        Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    })
}

#[test]
fn names_that_a_stranger_cannot_guess_are_not_used() {
    let mut wrong = Vec::new();
    let files = ["src", "crates/proof/src", "tests/it"].iter().flat_map(|src| sources(&root().join(src)));
    for path in files.chain(files_with_ending(&root().join("proto"), "proto")) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let kinds = ["struct ", "enum ", "trait ", "type ", "message ", "service "];
        let types = declared(&text, &kinds).filter(|name| PRIVATE_TYPES.contains(&name.as_str()));
        wrong.extend(types.map(|name| format!("{}: {name}", path.display())));
        if PRIVATE_FILES.contains(&stem.as_str()) {
            wrong.push(path.display().to_string());
        }
    }
    // The sections and keys of the configuration are fields of these files.
    for path in sources(&root().join("src/config")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_private = |name: &str| {
            PRIVATE_FILES.contains(&name) || PRIVATE_TYPES.iter().any(|of| of.to_lowercase() == name)
        };
        let keys = declared(&text, &["    pub "]).filter(|name| is_private(name));
        wrong.extend(keys.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The `max_width` of rustfmt.toml, which applies to code only.
const WIDTH_MAX: usize = 110;
/// The endings of the files whose comments are checked, each with the mark of a comment and the folders.
const COMMENTED: [(&str, &str, &[&str]); 4] = [
    ("rs", "//", &["src", "crates", "tests", "benches", "build", "fuzz/fuzz_targets"]),
    ("proto", "//", &["proto"]),
    ("cedar", "//", &["bounds", "src"]),
    ("sh", "#", &["tests", "deploy", "bench"]),
];

#[test]
fn comments_are_not_wider_than_code() {
    let files = COMMENTED.iter().flat_map(|(ending, mark, folders)| {
        let paths = folders.iter().flat_map(|folder| files_with_ending(&root().join(folder), ending));
        paths.map(|path| (path, *mark)).collect::<Vec<_>>()
    });
    let mut wide = Vec::new();
    for (path, mark) in files.chain([(root().join("Makefile"), "#")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(mark));
        let lines = lines.filter(|(_, line)| line.chars().count() > WIDTH_MAX);
        wide.extend(lines.map(|(number, _)| format!("{}:{}", path.display(), number + 1)));
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn the_verifier_does_not_depend_on_a_runtime_a_store_or_a_policy_engine() {
    let manifest = std::fs::read_to_string(root().join("crates/proof/Cargo.toml")).unwrap();
    for name in ["tokio", "tonic", "sled", "cedar", "axum", "reqwest", "hyper"] {
        assert!(!manifest.lines().any(|line| line.starts_with(name)), "{name}");
    }
}
