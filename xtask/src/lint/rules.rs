//! The rules that rustc and clippy do not know. Each is a function from the repository's files to the places
//! that break it.

use anyhow::Result;

use super::Finding;
use crate::source::{File, Token};

type Rule = fn(&[File]) -> Result<Vec<Finding>>;

pub(super) const ALL: &[(&str, Rule)] = &[
    ("no ignored test", no_ignored_test),
    ("no bare allow", no_bare_allow),
    ("no long file", no_long_file),
    ("no unwrap in product code", no_unwrap),
    ("expect says why", expect_says_why),
    ("clippy.toml gives reasons", clippy_gives_reasons),
    ("no path of one machine", no_machine_path),
    ("manifests inherit", manifests_inherit),
];

const LONGEST_FILE: usize = 400;

fn no_ignored_test(files: &[File]) -> Result<Vec<Finding>> {
    attributes_named(files, "ignore", "a test runs or does not exist: mend it or remove it")
}

fn no_bare_allow(files: &[File]) -> Result<Vec<Finding>> {
    attributes_named(files, "allow", "use #[expect(lint, reason = \"…\")], which speaks up when it is no longer needed")
}

/// `#[name]`, `#![name(…)]` and `#[cfg_attr(…, name)]`.
fn attributes_named(files: &[File], name: &str, says: &str) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let tokens = file.tokens()?;
        let starts = (0..tokens.len()).filter(|&at| tokens[at].text == "#");
        let named = starts.filter(|&at| attribute_is(&tokens[at + 1..], name));
        findings.extend(named.map(|at| finding(file, tokens[at].line, says)));
    }
    Ok(findings)
}

fn attribute_is(after_hash: &[Token], name: &str) -> bool {
    let mut texts = after_hash.iter().map(|token| token.text.as_str()).skip_while(|text| *text == "!");
    if texts.next() != Some("[") {
        return false;
    }
    match texts.next() {
        Some("cfg_attr") => conditional_attributes(texts).contains(&name),
        first => first == Some(name),
    }
}

/// The attributes that `(condition, a, b(…))` stands for.
fn conditional_attributes<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    let (mut depth, mut before) = (0, "");
    for text in texts {
        if depth == 1 && before == "," {
            names.push(text);
        }
        match text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        before = text;
    }
    names
}

fn no_long_file(files: &[File]) -> Result<Vec<Finding>> {
    let rust = files.iter().filter(|file| file.is_rust());
    let long = rust.filter(|file| file.text.lines().count() > LONGEST_FILE);
    Ok(long.map(|file| finding(file, LONGEST_FILE + 1, "over 400 lines: split it by what it answers for")).collect())
}

fn no_unwrap(files: &[File]) -> Result<Vec<Finding>> {
    in_product_code(files, |tokens| match texts(tokens) {
        [".", "unwrap", "(", ")"] => Some("return the error, or `expect` with the reason why it cannot fail"),
        _ => None,
    })
}

/// A message of one or two words names what broke; it takes more to say why it cannot.
fn expect_says_why(files: &[File]) -> Result<Vec<Finding>> {
    in_product_code(files, |tokens| match texts(tokens) {
        [".", "expect", "(", message] if message.split_whitespace().count() < 3 => {
            Some("`expect` needs a message that says why it cannot fail")
        }
        _ => None,
    })
}

fn in_product_code(files: &[File], breaks: fn(&[Token]) -> Option<&'static str>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.product_crate().is_some()) {
        let tokens = file.product_tokens()?;
        let broken = tokens.windows(4).filter_map(|four| Some((four[1].line, breaks(four)?)));
        findings.extend(broken.map(|(line, says)| finding(file, line, says)));
    }
    Ok(findings)
}

fn texts(tokens: &[Token]) -> [&str; 4] {
    std::array::from_fn(|at| tokens.get(at).map_or("", |token| token.text.as_str()))
}

/// One entry a line. An entry that forbids carries its `reason`, which clippy shows; a setting has a comment above it.
fn clippy_gives_reasons(files: &[File]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.rsplit('/').next() == Some("clippy.toml")) {
        let mut above = "";
        for (number, line) in (1..).zip(file.text.lines().map(str::trim)) {
            if !clippy_line_is_explained(line, above) {
                findings.push(finding(file, number, "an entry without a reason"));
            }
            above = line;
        }
    }
    Ok(findings)
}

fn clippy_line_is_explained(line: &str, above: &str) -> bool {
    let is_entry = line.starts_with(['{', '"']);
    let is_setting = line.starts_with(|first: char| first.is_ascii_lowercase());
    let has_reason = line.split_once("reason = \"").is_some_and(|(_, reason)| !reason.starts_with('"'));
    let holds_entries = line.contains('"');
    match (is_entry, is_setting) {
        (true, _) => has_reason,
        (_, true) => above.starts_with('#') && (!holds_entries || has_reason),
        _ => true,
    }
}

fn no_machine_path(files: &[File]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if MACHINE_FOLDERS.iter().any(|folder| names_folder(line, folder)) {
                findings.push(finding(file, number, "a path that exists on one machine only"));
            }
        }
    }
    Ok(findings)
}

/// Put together here, so that this file does not find itself.
const MACHINE_FOLDERS: &[&str] = &[concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// Whether the folder begins a path: in `~/work/` or `example.org/home/` it does not.
fn names_folder(line: &str, folder: &str) -> bool {
    let goes_on = |before: char| before.is_alphanumeric() || "._-~})".contains(before);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(goes_on))
}

fn manifests_inherit(files: &[File]) -> Result<Vec<Finding>> {
    const INHERITED: &[&str] =
        &["license.workspace = true", "rust-version.workspace = true", "[lints]\nworkspace = true"];
    let mut findings = Vec::new();
    // The fuzz targets are no part of the workspace.
    let inherits = |file: &&File| file.path.ends_with("/Cargo.toml") && !file.path.starts_with("fuzz/");
    for file in files.iter().filter(inherits) {
        let missing = INHERITED.iter().filter(|line| !file.text.contains(**line));
        findings.extend(missing.map(|line| finding(file, 1, &format!("lacks `{}`", line.replace('\n', " ")))));
    }
    Ok(findings)
}

fn finding(file: &File, line: usize, says: &str) -> Finding {
    Finding { path: file.path.clone(), line, says: says.into() }
}

#[cfg(test)]
mod tests;
