//! The test suites by name. A suite is a promise; the table says where its tests live.

use anyhow::{Result, bail};

/// The package whose integration binary `it` holds one module per promise.
pub(crate) const PROMISES: &str = "insula-tests";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The module of the same name in the integration binary.
    Module,
    /// Every test of these packages.
    Packages(&'static [&'static str]),
    /// The tests of every package that no other suite claims.
    Elsewhere,
    /// The scripts of [`clients`](crate::clients).
    Scripts,
    /// The examples in the documentation of all crates.
    DocTests,
}

const fn module(name: &'static str) -> Suite {
    Suite { name, place: Place::Module }
}

pub(crate) const SUITES: &[Suite] = &[
    Suite { name: "unit", place: Place::Elsewhere },
    Suite {
        name: "conformance",
        place: Place::Packages(&["insula-infra", "insula-sqlite", "insula-postgres", "insula-redis"]),
    },
    module("context"),
    module("registry"),
    module("isolation"),
    module("factory"),
    module("engine"),
    module("durability"),
    module("archive"),
    module("limits"),
    module("queue"),
    module("mutants"),
    Suite { name: "interleavings", place: Place::Packages(&["insula-interleavings"]) },
    module("events"),
    module("tools"),
    module("pipelines"),
    module("storage"),
    module("failure"),
    module("cost"),
    module("example"),
    module("server"),
    module("cli"),
    Suite { name: "clients", place: Place::Scripts },
    Suite { name: "sim", place: Place::Packages(&["insula-sim"]) },
    Suite { name: "layers", place: Place::Packages(&["xtask"]) },
    Suite { name: "docs", place: Place::DocTests },
];

pub(crate) fn find(name: &str) -> Result<&'static Suite> {
    match SUITES.iter().find(|suite| suite.name == name) {
        Some(suite) => Ok(suite),
        None => bail!("there is no suite `{name}`; there are: {}", names().join(", ")),
    }
}

pub(crate) fn names() -> Vec<&'static str> {
    SUITES.iter().map(|suite| suite.name).collect()
}

/// The suite that a test belongs to. A module of the integration binary that the table does not know is
/// counted under its own name.
pub(crate) fn of<'a>(package: &str, test: &'a str) -> &'a str {
    if package == PROMISES {
        return test.split("::").next().unwrap_or(test);
    }
    let claims = |suite: &&Suite| matches!(suite.place, Place::Packages(names) if names.contains(&package));
    SUITES.iter().find(claims).map_or("unit", |suite| suite.name)
}

impl Suite {
    /// Whether what its tests print is what they are asked for, also when they pass.
    pub(crate) fn prints_what_it_found(&self) -> bool {
        self.name == "mutants"
    }

    /// The selection in nextest's own language.
    pub(crate) fn nextest_filter(&self) -> String {
        match self.place {
            Place::Module => format!("package(={PROMISES}) & test(/^{}::/)", self.name),
            Place::Packages(names) => any_of(names),
            Place::Elsewhere => format!("not ({})", any_of(&claimed())),
            Place::Scripts | Place::DocTests => "none()".into(),
        }
    }

    /// The selection as arguments of `cargo test`. It may choose fewer features than the whole workspace
    /// does and build again: the price of going without nextest.
    pub(crate) fn libtest_arguments(&self) -> Vec<String> {
        let line = match self.place {
            Place::Module => {
                let output = if self.prints_what_it_found() { " --show-output" } else { "" };
                format!("--package {PROMISES} --test it -- {}::{output}", self.name)
            }
            Place::Packages(names) => format!("--tests{}", each(" --package ", names)),
            Place::Elsewhere => {
                format!("--tests --workspace{}", each(" --exclude ", &claimed()))
            }
            Place::Scripts | Place::DocTests => "--workspace --doc".into(),
        };
        line.split(' ').map(String::from).collect()
    }
}

fn each(flag: &str, names: &[&str]) -> String {
    names.iter().flat_map(|name| [flag, *name]).collect()
}

/// The packages that have a suite of their own.
fn claimed() -> Vec<&'static str> {
    let packages = SUITES.iter().flat_map(|suite| match suite.place {
        Place::Packages(names) => names,
        _ => &[],
    });
    packages.copied().chain([PROMISES]).collect()
}

fn any_of(packages: &[&str]) -> String {
    packages.iter().map(|name| format!("package(={name})")).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_is_answered_with_the_known_ones() {
        let message = find("isolatoin").unwrap_err().to_string();
        assert!(message.contains("isolatoin") && message.contains("context, registry, isolation"), "{message}");
    }

    #[test]
    fn every_test_belongs_to_a_suite() {
        assert_eq!(of("insula-tests", "isolation::hides_other_users"), "isolation");
        assert_eq!(of("insula-sqlite", "journal::tests::appends"), "conformance");
        assert_eq!(of("xtask", "layers::check::tests::holds"), "layers");
        assert_eq!(of("insula-engine", "isolation::tests::named_alike"), "unit");
    }

    #[test]
    fn without_nextest_the_same_tests_are_chosen() {
        let arguments = |name| find(name).unwrap().libtest_arguments().join(" ");
        assert_eq!(arguments("context"), "--package insula-tests --test it -- context::");
        assert_eq!(arguments("layers"), "--tests --package xtask");
        assert!(arguments("unit").ends_with("--exclude insula-sim --exclude xtask --exclude insula-tests"));
    }

    #[test]
    fn a_module_is_not_chosen_by_a_name_that_only_contains_it() {
        assert_eq!(find("context").unwrap().nextest_filter(), "package(=insula-tests) & test(/^context::/)");
    }
}
