//! Checks that lists of files and tests name what exists.

use super::{has_word, root, rust_files};

#[test]
fn every_folder_of_modules_lists_them_at_its_top() {
    let is_test = |line: &str| line.ends_with("mod tests;");
    let mut missing = Vec::new();
    let mut folders = 0;
    for file in rust_files(&root().join("src")).iter().filter(|file| file.ends_with("mod.rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        let top: String = text.lines().filter(|line| line.starts_with("//!")).collect();
        let modules = text.lines().filter(|line| line.ends_with(';') && !is_test(line));
        let modules: Vec<_> =
            modules.filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';')).collect();
        if modules.len() >= 3 {
            folders += 1;
            let left_out = modules.iter().filter(|module| !has_word(&top, module));
            missing.extend(left_out.map(|module| format!("{}: {module}", file.display())));
        }
    }
    assert!(folders > 20, "only {folders} folders");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_reliability_table_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/RELIABILITY.md")).unwrap();
    let named: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();
    let is_module = |name: &&&str| {
        let is_letter = |c: char| c.is_ascii_lowercase() || c == '_' || c == ':';
        name.contains("::") && name.chars().all(is_letter)
    };
    // `tests` may be in the module's own file.
    let exists = |name: &str| {
        let path = |name: &str| root().join("src").join(name.replace("::", "/"));
        [name, name.trim_end_matches("::tests")]
            .iter()
            .any(|name| path(name).exists() || path(name).with_extension("rs").exists())
    };
    let modules = named.iter().filter(is_module);
    let files = named.iter().filter(|name| name.starts_with("tests/"));
    assert!(modules.clone().count() > 10 && files.clone().count() > 30);
    let missing: Vec<_> = modules
        .filter(|name| !exists(name))
        .chain(files.filter(|name| !root().join(name).exists()))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_fault_table_names_files_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("| fault | file to open |\n|---|---|\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 15, "only {} faults", rows.len());
    for row in rows {
        let is_path =
            |part: &&str| ["src/", "scripts/", "packaging/"].iter().any(|at| part.starts_with(at));
        let files: Vec<_> = row.split('`').filter(is_path).collect();
        assert!(!files.is_empty(), "no file: {row}");
        for file in files {
            assert!(root().join(file).exists(), "{file} does not exist: {row}");
        }
    }
}
