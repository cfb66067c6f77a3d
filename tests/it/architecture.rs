//! Checks the import rules and other structural rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

mod circles;
mod maps;
mod tables;

use tables::{CRATES, MAY_IMPORT, PIPELINE};

/// A source file without comments and tests.
struct Source {
    /// Path below `src`.
    path: PathBuf,
    /// Module path; empty for `lib.rs` and `main.rs`.
    module: Vec<String>,
    code: String,
}

impl Source {
    /// Returns the top-level module of this file.
    fn top(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Returns the top-level modules that this file refers to.
    fn imports(&self) -> BTreeSet<String> {
        let is_module =
            |name: &str| name == "*" || MAY_IMPORT.iter().any(|(module, _)| *module == name);
        let mut found = self.names_below(&[]);
        // `crate::*` imports everything.
        found.retain(|name| name != self.top() && is_module(name));
        found
    }

    /// Returns the modules of `pipeline` that this file refers to, except its own.
    fn pipeline_modules(&self) -> BTreeSet<String> {
        let own = self.module.get(1).map_or("", String::as_str);
        let mut found = self.names_below(&["pipeline"]);
        found.retain(|name| name != own && PIPELINE.iter().any(|(module, _)| module == name));
        found
    }

    /// Returns the names that this file uses from the module `root`: with `crate::root::a`, with
    /// `crate::root::{a, b::c}`, or with as many `super::` as lead to `root`.
    fn names_below(&self, root: &[&str]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let crate_name = if self.module.is_empty() { "scenetap" } else { "crate" };
        let path = std::iter::once(crate_name).chain(root.iter().copied());
        let mut prefixes = vec![path.map(|name| format!("{name}::")).collect::<String>()];
        if self.module.len() > root.len() && self.module.iter().zip(root).all(|(a, b)| a == b) {
            prefixes.push("super::".repeat(self.module.len() - root.len()));
        }
        for prefix in &prefixes {
            for (at, _) in self.code.match_indices(prefix.as_str()) {
                let is_start = !self.code[..at]
                    .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                if is_start {
                    found.extend(first_names(&self.code[at + prefix.len()..]));
                }
            }
        }
        found
    }
}

/// Returns the first names of a path: one, or one for each member of a group in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '*');
        text.trim_start().chars().take_while(is_part).collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

/// Returns the code without line comments and without items under `#[cfg(test)]`.
fn without_comments_and_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim_start() == "#[cfg(test)]" {
            let indent = line.len() - line.trim_start().len();
            // More attributes may follow. The item is one line, or ends at a brace in its column.
            let item = lines.find(|line| !line.trim_start().starts_with("#["));
            if item.is_some_and(|item| item.ends_with('{')) {
                let ends = ["}", "};"].map(|end| format!("{}{end}", " ".repeat(indent)));
                let end = lines.find(|line| ends.iter().any(|end| line == end));
                assert!(end.is_some(), "an item under #[cfg(test)] that does not end:\n{text}");
            }
            continue;
        }
        let comment = line.find("//").filter(|at| !line[..*at].contains('"'));
        code.push_str(comment.map_or(line, |at| &line[..at]));
        code.push('\n');
    }
    code
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every Rust file in a folder and below.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut sources = Vec::new();
    for file in rust_files(&src) {
        let path = file.strip_prefix(&src).unwrap().to_owned();
        let is_test = path.components().any(|part| part.as_os_str() == "tests")
            || path.file_name().is_some_and(|name| name == "tests.rs");
        if is_test {
            continue;
        }
        let mut module: Vec<_> =
            path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let code = without_comments_and_tests(&std::fs::read_to_string(&file).unwrap());
        sources.push(Source { path, module, code });
    }
    assert!(sources.len() > 100, "only {} sources in {}", sources.len(), src.display());
    sources
}

/// Returns whether `code` contains `word` as a whole word.
fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part)
    })
}

/// Returns the crates under `[dependencies]`, as they are named in code.
fn dependencies() -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = std::fs::read_to_string(manifest).unwrap();
    let section = text.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let entries = section.lines().filter(|line| !line.starts_with('#'));
    entries.filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_"))).collect()
}

#[test]
fn every_module_imports_only_what_stands_below_it() {
    let mut found = Vec::new();
    for source in sources() {
        // `main.rs` calls the command line; `lib.rs` only declares the modules.
        if source.module.is_empty() {
            assert!(source.imports().iter().all(|name| name == "cli"), "{}", source.path.display());
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == source.top())
        else {
            found
                .push(format!("{}: a module that MAY_IMPORT does not list", source.path.display()));
            continue;
        };
        for other in source.imports() {
            if !allowed.contains(&other.as_str()) {
                found.push(format!("{} imports {other}", source.path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_room_of_the_pipeline_imports_only_what_stands_below_it() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.top() == "pipeline") {
        let Some(own) = source.module.get(1) else { continue };
        let Some((_, allowed)) = PIPELINE.iter().find(|(module, _)| module == own) else {
            found.push(format!("{}: a module that PIPELINE does not list", source.path.display()));
            continue;
        };
        let others = source
            .pipeline_modules()
            .into_iter()
            .filter(|other| !allowed.contains(&other.as_str()));
        found.extend(others.map(|other| format!("{} imports {other}", source.path.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_is_longer_than_can_be_read_at_a_sitting() {
    const MAX_LINES: usize = 500;
    let folders = ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"];
    let mut files: Vec<_> =
        folders.iter().flat_map(|folder| rust_files(&root().join(folder))).collect();
    files.retain(|file| std::fs::read_to_string(file).unwrap().lines().count() > MAX_LINES);
    assert!(files.is_empty(), "longer than {MAX_LINES} lines: {files:#?}");
}

#[test]
fn no_two_types_have_the_same_name() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for source in sources() {
        for name in declared_types(&source.code) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    assert!(places.len() > 150, "only {} types", places.len());
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

/// Returns the types that `code` declares, with and without `pub`; associated types have no name
/// of their own.
fn declared_types(code: &str) -> Vec<String> {
    let declared = |line: &str| {
        let is_associated = line.starts_with(' ');
        let line = line.trim_start();
        let rest = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
            rest => rest.map_or(line, str::trim_start),
        };
        let (keyword, rest) = rest.split_once(' ')?;
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        let is_type = matches!(keyword, "struct" | "enum" | "trait" | "union");
        (is_type || keyword == "type" && !is_associated).then_some(name)
    };
    code.lines().filter_map(declared).collect()
}

#[test]
fn imports_run_one_way() {
    for (at, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for other in *allowed {
            let is_listed_before = MAY_IMPORT[..at].iter().any(|(below, _)| below == other);
            assert!(
                is_listed_before,
                "{module} may import {other}, which MAY_IMPORT does not list before it"
            );
        }
    }
}

#[test]
fn the_files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let circles = circles::circles(&sources());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_wall_stands_where_nothing_is() {
    let sources = sources();
    let imports = |module: &str, other: &str| {
        sources.iter().any(|source| source.top() == module && source.imports().contains(other))
    };
    for (module, allowed) in MAY_IMPORT {
        assert!(sources.iter().any(|source| source.top() == module), "there is no {module}");
        for other in allowed {
            assert!(imports(module, other), "{module} may import {other}, and does not");
        }
    }
    for (module, allowed) in PIPELINE {
        let own = |source: &&Source| source.module.starts_with(&["pipeline".into(), module.into()]);
        assert!(sources.iter().any(|source| own(&source)), "there is no {module}");
        for other in allowed {
            let imports =
                sources.iter().filter(own).any(|source| source.pipeline_modules().contains(*other));
            assert!(imports, "{module} may import {other}, and does not");
        }
    }
    for (name, allowed) in CRATES {
        for module in allowed {
            let uses = |source: &Source| source.top() == *module && uses_crate(&source.code, name);
            assert!(sources.iter().any(uses), "{module} may use {name}, and does not");
        }
    }
}

#[test]
fn foreign_crates_stay_where_they_belong_and_none_is_idle() {
    let mut listed: Vec<_> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut dependencies = dependencies();
    listed.sort();
    dependencies.sort();
    assert_eq!(listed, dependencies, "CRATES lists what Cargo.toml has");
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.module.is_empty()) {
        for (name, allowed) in CRATES {
            if uses_crate(&source.code, name) && !allowed.contains(&source.top()) {
                found.push(format!("{} uses {name}", source.path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Returns whether `code` uses the crate `name`. Some modules have the same name as a crate.
fn uses_crate(code: &str, name: &str) -> bool {
    // `#[serde(with = "hex")]` names the crate in a string.
    let forms =
        [format!("use {name}"), format!("{name}::"), format!("{name} as "), format!("\"{name}\"")];
    forms.iter().any(|form| has_word_start(code, form))
}

/// Returns whether `code` contains `text` at the start of a path, and not as part of a longer name.
fn has_word_start(code: &str, text: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.match_indices(text).any(|(at, _)| {
        let ends = !code[at + text.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            || text.ends_with(':');
        // `::tokio` is tokio as well; `a::tokio` is not.
        let before = code[..at]
            .strip_suffix("::")
            .filter(|text_before| text_before.ends_with([' ', '(', '<']));
        !before.unwrap_or(&code[..at]).ends_with(continues) && ends
    })
}

#[test]
fn unsafe_code_stays_where_ffmpeg_demands_it() {
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|source| !matches!(source.top(), "decode" | "libav"))
        // No safe call changes a descriptor that the process was started with.
        .filter(|source| source.path != Path::new("host/descriptors.rs"))
        .filter(|source| has_word(&source.code, "unsafe"))
        .map(|source| source.path)
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    let source = |code: &str| Source {
        path: PathBuf::from("demux/pes.rs"),
        module: vec!["demux".into(), "pes".into()],
        code: without_comments_and_tests(code),
    };
    for code in [
        "use crate::catalog::Entry;",
        "use crate::{catalog, media::{Ticks, error}};",
        "use crate::{\n    media::{Ticks, ByteOffset},\n    catalog::{self},\n};",
        "use super::super::catalog;",
        "#[cfg(test)]\nuse crate::{\n    media,\n};\nuse crate::catalog;",
        "fn f() -> crate::catalog::Entry {}",
        "pub(crate) use crate::catalog as other;",
    ] {
        assert!(source(code).imports().contains("catalog"), "{code}");
    }
    for code in [
        "// use crate::catalog;",
        "use crate::media::catalog;",
        "use super::catalog;",
        "use crate::{media::{catalog}};",
        "#[cfg(test)]\nmod tests {\n    use crate::catalog;\n}",
        "#[cfg(test)]\nuse crate::catalog;",
    ] {
        assert!(!source(code).imports().contains("catalog"), "{code}");
    }
    assert!(source("use crate::*;").imports().contains("*"));
    let deep = Source {
        path: PathBuf::from("pipeline/record/writer.rs"),
        module: vec!["pipeline".into(), "record".into(), "writer".into()],
        code: "use super::super::live::Job;\nuse super::cut;\nuse crate::pipeline::analyzer::x;"
            .into(),
    };
    assert_eq!(deep.pipeline_modules().into_iter().collect::<Vec<_>>(), ["analyzer", "live"]);
    assert_eq!(
        declared_types(
            "pub(in crate::a) enum One {\n pub struct Two<T>(T);\n struct Three;\ntype Four = u8;\n type No = u8;"
        ),
        ["One", "Two", "Three", "Four"]
    );
    let main =
        Source { path: "main.rs".into(), module: vec![], code: "scenetap::disk::x()".into() };
    assert!(main.imports().contains("disk"));
    for code in ["use tokio::net;", "use ::tokio::net;", "tokio::spawn(f)", "(::tokio::spawn(f))"] {
        assert!(uses_crate(code, "tokio"), "{code}");
    }
    for code in ["use crate::tokio;", "my_tokio::f()", "tokio_rustls::f()", "let tokio = 1;"] {
        assert!(!uses_crate(code, "tokio"), "{code}");
    }
    assert!(has_word("unsafe impl Send for X {}", "unsafe"));
    assert!(has_word("unsafe{ f() }", "unsafe"));
    assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
}
