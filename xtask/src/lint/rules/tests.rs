//! Each rule finds what was planted and leaves alone what only looks like it.

use super::*;
use crate::source::file;

const PRODUCT: &str = "crates/insula-agent/src/session.rs";

const NOWHERE: [usize; 0] = [];

/// The lines on which the rule finds something in one file.
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&[file(path, text)]).unwrap().into_iter().map(|finding| finding.line).collect()
}

#[test]
fn an_ignored_test_is_found_in_every_spelling() {
    let text =
        "#[test]\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n#[cfg_attr(windows, ignore)]\nfn c() {}";
    assert_eq!(lines(no_ignored_test, "tests/tests/it/cost.rs", text), [2, 4, 6]);
    assert_eq!(lines(no_ignored_test, PRODUCT, "/// `#[ignore]`\n#[must_use]\nfn ignore() {}"), NOWHERE);
}

#[test]
fn a_bare_allow_is_found() {
    let text = "#![allow(dead_code)]\n#[cfg_attr(test, allow(dead_code))]\nfn a() {}\n#[expect(dead_code, reason = \"allow\")]\nfn b() {}";
    assert_eq!(lines(no_bare_allow, PRODUCT, text), [1, 2]);
}

#[test]
fn a_file_may_have_400_lines_and_no_more() {
    assert_eq!(lines(no_long_file, PRODUCT, &"\n".repeat(400)), NOWHERE);
    assert_eq!(lines(no_long_file, PRODUCT, &"\n".repeat(401)), [401]);
    assert_eq!(lines(no_long_file, "Cargo.lock", &"\n".repeat(401)), NOWHERE);
}

#[test]
fn an_unwrap_is_found_in_product_code_only() {
    let text = "fn a() {\n    b()\n        .unwrap();\n}\n#[cfg(test)]\nmod tests { fn c() { d().unwrap() } }";
    assert_eq!(lines(no_unwrap, PRODUCT, text), [3]);
    assert_eq!(lines(no_unwrap, "crates/insula-agent/src/session/tests.rs", text), NOWHERE);
    assert_eq!(lines(no_unwrap, PRODUCT, "fn a() { b().unwrap_or_default() } // .unwrap()"), NOWHERE);
}

#[test]
fn an_expect_without_a_why_is_found() {
    assert_eq!(lines(expect_says_why, PRODUCT, "fn a() { b().expect(\"mutex\") }"), [1]);
    assert_eq!(lines(expect_says_why, PRODUCT, "fn a() { b().expect(MESSAGE) }"), [1]);
    assert_eq!(lines(expect_says_why, PRODUCT, "fn a() { b().expect(\"the map holds every name\") }"), NOWHERE);
}

#[test]
fn a_clippy_entry_without_a_reason_is_found() {
    let good = "# Long functions hide steps.\ntoo-many-lines-threshold = 80\n# Forbidden.\ndisallowed-methods = [\n  { path = \"a::b\", reason = \"why\" },\n]\n";
    assert_eq!(lines(clippy_gives_reasons, "clippy.toml", good), NOWHERE);
    let bad = "too-many-lines-threshold = 80\n# Forbidden.\ndisallowed-methods = [\n  \"a::b\",\n  { path = \"a::c\" },\n  { path = \"a::d\", reason = \"\" },\n]\n# Names.\ndisallowed-names = [\"x\"]\n";
    assert_eq!(lines(clippy_gives_reasons, "clippy.toml", bad), [1, 4, 5, 6, 9]);
}

#[test]
fn a_path_of_one_machine_is_found_in_any_file() {
    for folder in MACHINE_FOLDERS {
        assert_eq!(lines(no_machine_path, "docs/a.md", &format!("see\n`{folder}x`")), [2], "{folder}");
        assert_eq!(
            lines(no_machine_path, "docs/a.md", &format!("~{folder} example.org{folder}x")),
            NOWHERE,
            "{folder}"
        );
    }
}

#[test]
fn a_manifest_that_does_not_inherit_is_found() {
    let good = "[package]\nrust-version.workspace = true\nlicense.workspace = true\n\n[lints]\nworkspace = true\n";
    assert_eq!(lines(manifests_inherit, "crates/a/Cargo.toml", good), NOWHERE);
    assert_eq!(lines(manifests_inherit, "crates/a/Cargo.toml", "[package]\nlicense = \"MIT\"\n"), [1, 1, 1]);
    assert_eq!(lines(manifests_inherit, "Cargo.toml", "[workspace]\n"), NOWHERE);
}
