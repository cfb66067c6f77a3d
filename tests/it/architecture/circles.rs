//! Finds circles of imports between the files of a folder.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

/// Returns each circle: the folder, and the files and folders in it that import one another.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let folders: BTreeSet<&[String]> = sources
        .iter()
        .flat_map(|source| (0..source.module.len()).map(|depth| &source.module[..depth]))
        .collect();
    folders.into_iter().filter_map(|folder| circle_in(folder, sources)).collect()
}

fn circle_in(folder: &[String], sources: &[Source]) -> Option<String> {
    let below =
        |source: &&Source| source.module.len() > folder.len() && source.module.starts_with(folder);
    let child = |source: &Source| source.module[folder.len()].clone();
    let children: BTreeSet<String> = sources.iter().filter(below).map(child).collect();
    let owner = sources.iter().find(|source| source.module == folder);
    let reexports = owner.map(|owner| reexports(&owner.code, &children)).unwrap_or_default();
    let root: Vec<_> = folder.iter().map(String::as_str).collect();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(below) {
        let own = child(source);
        let names = source.names_below(&root).into_iter();
        let mut others: BTreeSet<_> = names
            .filter_map(|name| children.get(&name).or_else(|| reexports.get(&name)).cloned())
            .collect();
        others.remove(&own);
        imports.entry(own).or_default().extend(others);
    }
    // A module that imports no remaining module is in no circle.
    loop {
        let free: Vec<_> = imports
            .iter()
            .filter(|(_, others)| others.iter().all(|other| !imports.contains_key(other)))
            .map(|(name, _)| name.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        imports.retain(|name, _| !free.contains(name));
    }
    (!imports.is_empty()).then(|| format!("{}: {imports:?}", folder.join("/")))
}

/// Returns the names that a module imports from its children, each with the child.
fn reexports(code: &str, children: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for statement in code.split(';').filter_map(|code| Some(code.rsplit_once("use ")?.1)) {
        let Some((child, names)) = statement.split_once("::") else { continue };
        if children.contains(child) {
            let names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
            found.extend(names.map(|name| (name.to_owned(), child.to_owned())));
        }
    }
    found
}

#[test]
fn a_circle_is_found_however_it_is_closed() {
    let source = |path: &str, code: &str| {
        let module: Vec<String> = path.split('/').map(str::to_owned).collect();
        Source { path: path.into(), module, code: code.into() }
    };
    let circle = |closing: Source| {
        circles(&[
            source("a", "mod b;\nmod c;\npub use b::{One as Two};\nuse c::Three;"),
            source("a/c", "use super::b::One;"),
            closing,
        ])
    };
    for code in ["use super::c::Three;", "use super::Three;", "fn f() -> crate::a::Three {}"] {
        assert_eq!(circle(source("a/b", code)).len(), 1, "{code}");
    }
    assert_eq!(circle(source("a/b/deep", "use super::super::c;")).len(), 1);
    for code in ["use crate::other::c;", "use super::One;", "use super::b::One;"] {
        assert_eq!(circle(source("a/b", code)), [""; 0], "{code}");
    }
}
