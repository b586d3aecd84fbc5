//! The graph of imports between the files of a crate, read from their text. A room is a top-level module of
//! the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The file name and the text, without unit tests and comments, of each module.
type Sources = BTreeMap<Module, (String, String)>;
/// The segments of a module's path in the crate.
type Module = Vec<String>;

/// The imports between files, by their paths relative to the crate's `src`.
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    /// Files that export an item of another room, with the item's path.
    pub reexports: Vec<(String, String)>,
}

impl Graph {
    /// Reads every file below `src` except tests.
    pub fn read(src: &Path) -> Self {
        let sources: Sources = super::sources(src)
            .into_iter()
            .map(|path| (path.strip_prefix(src).unwrap().to_string_lossy().into_owned(), path))
            .filter(|(name, _)| !is_test(name))
            .map(|(name, path)| {
                let text = std::fs::read_to_string(path).unwrap();
                let code = without_comments(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
                (module_of(&name), (name, code))
            })
            .collect();
        let mut graph = Self { edges: BTreeMap::new(), reexports: Vec::new() };
        let reexports = reexports_of_folders(&sources);
        for (module, (name, code)) in &sources {
            let (imports, exports) = paths_in(code, module, &sources);
            for path in &exports {
                let is_of_another_room = path.first() != module.first();
                if is_of_another_room && path.first().is_some_and(|room| room != "proto") {
                    graph.reexports.push((name.clone(), path.join("::")));
                }
            }
            // A `mod.rs` re-exports items of its files. In any other file, an export counts as an import.
            let own = exports.iter().filter(|_| !name.ends_with("mod.rs"));
            let files = imports.iter().chain(own).filter_map(|path| file_of(path, &sources, &reexports));
            let files = files.filter(|file| file != name).collect();
            graph.edges.insert(name.clone(), files);
        }
        graph
    }

    /// The cycles of files that import each other. Each cycle is one text.
    pub fn cycles(&self) -> Vec<String> {
        let mut found: Vec<BTreeSet<&str>> = Vec::new();
        let reachable: BTreeMap<&str, BTreeSet<&str>> =
            self.edges.keys().map(|file| (file.as_str(), self.reachable(file))).collect();
        for (file, reached) in &reachable {
            let cycle: BTreeSet<&str> =
                reached.iter().copied().filter(|other| reachable[other].contains(file)).collect();
            if cycle.contains(file) && !found.contains(&cycle) {
                found.push(cycle);
            }
        }
        found.into_iter().map(|cycle| self.explain(&cycle)).collect()
    }

    fn reachable(&self, file: &str) -> BTreeSet<&str> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![file]);
        while let Some(file) = next.pop() {
            for other in self.edges.get(file).into_iter().flatten() {
                if seen.insert(other.as_str()) {
                    next.push(other);
                }
            }
        }
        seen
    }

    fn explain(&self, cycle: &BTreeSet<&str>) -> String {
        let arrows = cycle.iter().flat_map(|file| {
            let to = self.edges[*file].iter().filter(|to| cycle.contains(to.as_str()));
            to.map(move |to| format!("  {file} -> {to}"))
        });
        format!("cycle of {} files:\n{}", cycle.len(), arrows.collect::<Vec<_>>().join("\n"))
    }

    /// A Mermaid diagram of the imports between rooms. It omits an arrow if a path of other arrows connects
    /// the rooms.
    pub fn diagram(&self) -> String {
        let room = |file: &str| file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let is_room = |room: &str| !["fuzzing", "lib", "main"].contains(&room);
        let mut rooms = Self { edges: BTreeMap::new(), reexports: Vec::new() };
        for (from, to) in self.edges.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to))) {
            let (from, to) = (room(from), room(to));
            if from != to && is_room(&from) && is_room(&to) {
                rooms.edges.entry(from).or_default().insert(to);
            }
        }
        let mut lines = String::new();
        for (from, to) in &rooms.edges {
            let leads =
                |other: &String, to: &String| other != to && rooms.reachable(other).contains(to.as_str());
            for to in to.iter().filter(|one| !to.iter().any(|other| leads(other, one))) {
                lines.push_str(&format!("    {from} --> {to}\n"));
            }
        }
        format!("flowchart TD\n{lines}")
    }
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs") || name == "domain/histories.rs"
}

fn module_of(name: &str) -> Module {
    let mut segments: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        segments.pop();
    }
    segments
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The re-exports of `mod.rs` files: module and name, with the path of the item.
fn reexports_of_folders(sources: &Sources) -> BTreeMap<(Module, String), Module> {
    let mut reexports = BTreeMap::new();
    for (module, (_, code)) in sources {
        for path in paths_in(code, module, sources).1 {
            reexports.insert((module.clone(), path.last().unwrap().clone()), path);
        }
    }
    reexports
}

/// The file that defines what a path names.
fn file_of(
    path: &[String],
    sources: &Sources,
    reexports: &BTreeMap<(Module, String), Module>,
) -> Option<String> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let known = (1..=path.len()).rev().find(|count| sources.contains_key(&path[..*count]))?;
        let module = path[..known].to_vec();
        let reexported = path.get(known).and_then(|name| reexports.get(&(module.clone(), name.clone())));
        match reexported {
            Some(from) if *from != path => path.clone_from(from),
            _ => return Some(sources[&module].0.clone()),
        }
    }
    None
}

/// The names of the modules right below a module.
fn children_of<'s>(module: &[String], sources: &'s Sources) -> BTreeSet<&'s str> {
    let below = sources.keys().filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
    below.filter_map(|child| child.last()).map(String::as_str).collect()
}

/// The absolute paths that a file imports or names, and those that it re-exports.
fn paths_in(code: &str, module: &[String], sources: &Sources) -> (Vec<Module>, Vec<Module>) {
    let children = children_of(module, sources);
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let is_use = trimmed.starts_with("use ") || trimmed.starts_with("pub") && trimmed.contains(" use ");
        if !is_use {
            rest.push_str(line);
            rest.push('\n');
            continue;
        }
        let mut statement = trimmed.to_owned();
        while !statement.contains(';') {
            statement.push_str(lines.next().unwrap_or(";").trim());
        }
        let (visibility, tree) = statement.split_once("use ").unwrap();
        for path in expand(tree.split(';').next().unwrap()) {
            let Some(path) = absolute(&path, module, &children) else { continue };
            if visibility.is_empty() { imports.push(path) } else { exports.push(path) }
        }
    }
    let starts = ["crate", "super", "self"].into_iter().chain(children.iter().copied());
    for start in starts.map(|first| format!("{first}::")) {
        for (at, _) in rest.match_indices(&start) {
            let before = rest[..at].chars().next_back();
            let is_inner = before.is_some_and(|before| before.is_alphanumeric() || "_:.".contains(before));
            // A visibility, such as `pub(in crate::cli)`, is not an import.
            if is_inner || rest[..at].ends_with("pub(in ") {
                continue;
            }
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let path: String = rest[at..].chars().take_while(|c| is_path(*c)).collect();
            imports.extend(absolute(path.trim_end_matches(':'), module, &children));
        }
    }
    (imports, exports)
}

/// The single paths of an import with braces.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 { parts.push(std::mem::take(&mut part)) } else { part.push(c) }
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|part| format!("{head}{part}")).collect()
}

/// The path from the crate's root; `None` for a path of another crate. A path may begin with the name of a
/// child module.
fn absolute(path: &str, module: &[String], children: &BTreeSet<&str>) -> Option<Module> {
    let mut segments: Vec<&str> =
        path.split("::").map(str::trim).filter(|segment| *segment != "self").collect();
    let mut base: Module = match segments.first()? {
        &"crate" => {
            segments.remove(0);
            Vec::new()
        }
        &"super" => module.to_vec(),
        first if children.contains(first) => module.to_vec(),
        _ => return None,
    };
    while segments.first() == Some(&"super") {
        base.pop();
        segments.remove(0);
    }
    base.extend(segments.into_iter().map(str::to_owned));
    Some(base)
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn imports_of_children_are_found() {
    let cycle = ["cycle of 2 files:\n  a/mod.rs -> a/one.rs\n  a/one.rs -> a/mod.rs"];
    for (parent, child, cycles) in [
        ("mod one;\nuse one::One;\npub struct Two;\n", "use super::Two;\npub struct One;\n", &cycle[..]),
        ("mod one;\nfn f() { one::made(); }\npub struct Two;\n", "use crate::a::Two;\n", &cycle[..]),
        ("mod one;\nfn f() { self::one::made(); }\npub struct Two;\n", "use crate::a::Two;\n", &cycle[..]),
        // A re-export is not an import, and neither are a visibility and a field with the name of a child.
        ("mod one;\npub use one::One;\npub struct Two;\n", "use super::Two;\npub struct One;\n", &[]),
        ("mod one;\nuse one::One;\n", "pub(in crate::a) struct One;\n", &[]),
        ("mod one;\nfn f(x: T) { x.one::<u8>(); other::one::made(); }\n", "use crate::a::Two;\n", &[]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a/mod.rs", parent);
        write(dir.path(), "a/one.rs", child);
        assert_eq!(Graph::read(dir.path()).cycles(), cycles, "{parent}{child}");
    }
}

#[test]
fn cycles_and_reexports_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(dir.path(), name, text);
    file("a/mod.rs", "mod one;\nmod two;\npub use one::{One, Other};\npub use crate::b::Face;\n");
    file("a/one.rs", "use super::two::Two;\npub struct One;\npub struct Other;\n");
    file("a/two.rs", "use crate::a::{Other, One as First};\nuse crate::b;\npub struct Two;\n");
    file("b.rs", "use std::io;\npub struct Face;\n#[cfg(test)]\nmod tests {\nuse crate::a::One;\n}\n");
    let graph = Graph::read(dir.path());
    assert_eq!(graph.cycles(), ["cycle of 2 files:\n  a/one.rs -> a/two.rs\n  a/two.rs -> a/one.rs"]);
    assert_eq!(graph.reexports, [("a/mod.rs".to_owned(), "b::Face".to_owned())]);
    assert_eq!(graph.diagram(), "flowchart TD\n    a --> b\n");
    file(
        "b.rs",
        "use std::io;\npub use crate::c::Made;\n#[cfg(test)]\nmod tests;\npub use crate::d::Deep;\n",
    );
    file("d.rs", "pub struct Deep;\n");
    file("c.rs", "use crate::b::Base;\npub struct Made;\n");
    let graph = Graph::read(dir.path());
    assert!(
        graph.cycles().contains(&"cycle of 2 files:\n  b.rs -> c.rs\n  c.rs -> b.rs".to_owned()),
        "{:?}",
        graph.cycles()
    );
    assert!(
        graph.reexports.contains(&("b.rs".to_owned(), "d::Deep".to_owned())),
        "the file is read to its end"
    );
}
