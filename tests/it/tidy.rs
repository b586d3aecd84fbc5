//! The house keeps its shape: who may import whom, and how long a function may be.

mod imports;

use imports::Graph;
use std::path::{Path, PathBuf};

const FUNCTION_LINES_MAX: usize = 70;

/// Room → rooms of ours that it may use. `docs/architecture.md` has the same table.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("config", &[]),
    ("secret", &["clock"]),
    ("telemetry", &[]),
    ("tls", &["telemetry", "clock", "secret"]),
    ("fetch", &[]),
    ("domain", &[]),
    ("roles", &[]),
    ("bounds", &["domain", "roles"]),
    ("store", &[]),
    ("ledger", &["store", "clock", "telemetry", "secret"]),
    ("witness", &["ledger", "clock", "secret", "telemetry"]),
    ("vault", &["domain", "store", "clock", "secret"]),
    ("audit", &["domain", "ledger", "store"]),
    ("package", &["domain"]),
    (
        "app",
        &["domain", "bounds", "ledger", "vault", "audit", "package", "clock", "secret", "telemetry", "store"],
    ),
    ("api", &["app", "audit", "roles", "package", "domain", "telemetry", "clock", "secret", "proto", "tls"]),
    ("web", &["app", "domain", "roles", "telemetry", "tls", "witness"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let all = crate::harness::files_below(dir);
    all.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

fn room_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Code of a file without its test module.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn rooms_import_only_whom_they_may() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        let room = room_of(&path);
        let is_test = path.file_name().is_some_and(|name| name.to_string_lossy().contains("tests"));
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room).filter(|_| !is_test) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        for used in shipped(&text).split("crate::").skip(1) {
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
    let known = ["cli", "daemon", "fuzzing", "lib", "main"];
    for path in sources(&root().join("src")) {
        let room = room_of(&path);
        let listed = known.contains(&room.as_str()) || ROOMS.iter().any(|(name, _)| *name == room);
        assert!(listed, "{room}");
    }
}

/// Rooms whose answers others recompute: nothing in them may depend on the order in which a hash map is
/// walked, which is another in each process. Ordered maps are the rule; where one is hashed because it is
/// looked up often, or because a library asks for it, the line or the one above says so.
const ORDERED: &[&str] = &["src/bounds", "src/domain", "crates/proof/src/replay"];
const UNORDERED_MARK: &str = "// Unordered: ";

#[test]
fn no_answer_depends_on_the_order_of_a_hash_map() {
    let mut wrong = Vec::new();
    let files = ORDERED.iter().flat_map(|room| sources(&root().join(room)));
    for path in files.filter(|path| !path.components().any(|part| part.as_os_str() == "tests")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut above = "";
        for (number, line) in shipped(&text).lines().enumerate() {
            let names = ["HashMap", "HashSet"].iter().any(|name| line.contains(name));
            // An import says nothing yet, and a field's type is marked where it is declared.
            let plain = line.starts_with("use ") || line.trim_end().ends_with(": HashMap::new(),");
            let marked = [line, above].iter().any(|line| line.contains(UNORDERED_MARK));
            if names && !plain && !marked {
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

/// Whoever parses elsewhere parses what was not scanned, and on a stack that may not fit.
#[test]
fn policies_are_parsed_in_one_place() {
    let parses = [
        "PolicySet::from_",
        "Policy::parse",
        "Policy::from_",
        "Template::",
        "Schema::from_",
        "Entities::from_json",
    ];
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let apart = path.ends_with("bounds/policy_text/parse.rs")
            || path.components().any(|part| part.as_os_str() == "tests");
        if !apart && parses.iter().any(|parses| shipped(&text).contains(parses)) {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for src in ["src", "crates/proof/src"] {
        let circles = Graph::read(&root().join(src)).circles();
        assert!(circles.is_empty(), "{src}: {}", circles.join("\n"));
    }
}

/// `docs/architecture.md` shows it.
#[test]
fn the_picture_of_the_rooms_is_current() {
    let picture = Graph::read(&root().join("src")).drawn();
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    assert!(page.contains(&picture), "the picture in docs/architecture.md should be:\n{picture}");
}

/// Who wants what another room defines imports it from there.
#[test]
fn no_room_exports_what_another_defines() {
    let reexports = Graph::read(&root().join("src")).reexports;
    assert!(reexports.is_empty(), "{reexports:#?}");
}

/// Names that a stranger would have to learn from us; each has an ordinary one now.
const PRIVATE_FILES: &[&str] = &[
    "alike",
    "anchor",
    "bells",
    "book",
    "circumstances",
    "desk",
    "edit",
    "falls",
    "gather",
    "given",
    "given_again",
    "held",
    "known",
    "known_grants",
    "lane",
    "line",
    "look",
    "loops",
    "mark",
    "marker",
    "refusals",
    "remembered",
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
const PRIVATE_TYPES: &[&str] = &[
    "Alike",
    "Bells",
    "Circumstances",
    "Desk",
    "Door",
    "Fallen",
    "Falls",
    "GivenLately",
    "Hearing",
    "KnownGrants",
    "Lane",
    "Lanes",
    "Pace",
    "Planned",
    "Refusals",
    "Remembered",
    "RightsRequest",
    "Shelf",
    "Sweep",
    "Told",
    "Trial",
    "Turn",
    "Turns",
    "Validity",
    "Weighed",
];

#[test]
fn private_names_do_not_come_back() {
    let mut wrong = Vec::new();
    let files = ["src", "crates/proof/src"].iter().flat_map(|src| sources(&root().join(src)));
    for path in files {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let types = text.lines().filter_map(|line| {
            let kinds = ["struct ", "enum ", "trait ", "type "];
            let rest = kinds.iter().find_map(|kind| line.split_once(kind)).map(|(_, rest)| rest)?;
            Some(rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>())
        });
        let types = types.filter(|name| PRIVATE_TYPES.contains(&name.as_str()));
        wrong.extend(types.map(|name| format!("{}: {name}", path.display())));
        if PRIVATE_FILES.contains(&stem.as_str()) {
            wrong.push(path.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As `max_width` in rustfmt.toml, which formats code alone.
const WIDTH_MAX: usize = 110;

#[test]
fn comments_are_as_wide_as_code() {
    let folders = ["src", "crates", "tests", "benches", "build", "fuzz/fuzz_targets"];
    let mut wide = Vec::new();
    for path in folders.iter().flat_map(|folder| sources(&root().join(folder))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
        let lines = lines.filter(|(_, line)| line.chars().count() > WIDTH_MAX);
        wide.extend(lines.map(|(number, _)| format!("{}:{}", path.display(), number + 1)));
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn the_verifier_can_reach_neither_runtime_nor_store_nor_policy_engine() {
    let manifest = std::fs::read_to_string(root().join("crates/proof/Cargo.toml")).unwrap();
    for name in ["tokio", "tonic", "sled", "cedar", "axum", "reqwest", "hyper"] {
        assert!(!manifest.lines().any(|line| line.starts_with(name)), "{name}");
    }
}
