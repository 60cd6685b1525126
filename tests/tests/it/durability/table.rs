//! Holds `docs/crash-windows.md` to the tests that it names.

use std::{collections::BTreeSet, fs, path::Path};

/// The names in the last column of each row.
fn named() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crash-windows.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| operation"));
    let last =
        |row: &str| row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap().trim().trim_matches('`').to_owned();
    rows.map(last).collect()
}

/// The source of a module of this binary.
fn source(modules: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(modules.replace("::", "/"));
    fs::read_to_string(file.with_extension("rs")).ok()
}

fn exists(name: &str) -> bool {
    let Some((modules, test)) = name.rsplit_once("::") else { return false };
    let is_it = |line: &str| {
        let line = line.trim_start();
        line.starts_with(&format!("async fn {test}(")) || line.starts_with(&format!("{test}: "))
    };
    source(modules).is_some_and(|source| source.lines().any(is_it))
}

#[test]
fn every_row_names_a_test_that_exists() {
    let named = named();
    assert!(named.len() > 50, "{} rows", named.len());
    let missing: Vec<&String> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
    let once: BTreeSet<&String> = named.iter().collect();
    assert_eq!(once.len(), named.len(), "each row has a test of its own");
}

#[test]
fn every_window_has_a_row() {
    let (named, windows) = (named(), source("durability/windows").unwrap());
    let (_, rows) = windows.split_once("\nwindows! {").unwrap();
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let tests = rows.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": \"")).map(|(name, _)| name);
    let missing: Vec<&str> =
        tests.filter(is_name).filter(|test| !named.contains(&format!("durability::windows::{test}"))).collect();
    assert!(missing.is_empty(), "not in docs/crash-windows.md: {missing:?}");
}
