//! Holds the table against the manifests and the source.

use anyhow::Result;

use super::{CALL_FENCES, CRATE_FENCES, EXAMPLES, Here, Only, ROWS, Row};
use crate::source::{File, mentions};
use crate::workspace::Package;

/// One sentence for each place where the workspace is not what the table says: what is wrong, what to do.
pub(crate) fn violations(packages: &[Package], files: &[File]) -> Result<Vec<String>> {
    let mut found = missing_crates(packages);
    for package in packages {
        match row_of(package) {
            None => found.push(format!("{} has no row in xtask/src/layers.rs: give it a layer", package.name)),
            Some(row) => found.extend(edges_not_in(row, package, packages)),
        }
        found.extend(fenced_crates(package));
    }
    for file in files {
        found.extend(fenced_calls(file)?);
    }
    Ok(found)
}

fn row_of(package: &Package) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name_in_table(package))
}

fn name_in_table(package: &Package) -> &str {
    if package.manifest.starts_with("examples/") { EXAMPLES } else { &package.name }
}

fn missing_crates(packages: &[Package]) -> Vec<String> {
    let is_missing = |row: &&Row| row.presence == Here && !packages.iter().any(|it| name_in_table(it) == row.name);
    let missing = ROWS.iter().filter(is_missing);
    missing.map(|row| format!("{} has a row but is not in the workspace: remove the row", row.name)).collect()
}

fn edges_not_in(row: &Row, package: &Package, packages: &[Package]) -> Vec<String> {
    let Only(allowed) = row.may_use else {
        return Vec::new();
    };
    let ours = package.dependencies.iter().filter(|name| packages.iter().any(|other| other.name == **name));
    let strangers = ours.filter(|name| !allowed.contains(&name.as_str()));
    let say = |name: &String| {
        let package = &package.name;
        format!(
            "{package} uses {name}, which the layers do not allow: put a port below both, or record a decision and add the edge to xtask/src/layers.rs"
        )
    };
    strangers.map(say).collect()
}

fn fenced_crates(package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    for fence in CRATE_FENCES.iter().filter(|fence| !fence.only_in.contains(&name_in_table(package))) {
        let beyond = package.dependencies.iter().filter(|name| fence.crates.contains(&name.as_str()));
        found.extend(beyond.map(|name| {
            format!("{} uses {name}, which belongs to {}: {}", package.name, fence.only_in.join(", "), fence.because)
        }));
    }
    found
}

fn fenced_calls(file: &File) -> Result<Vec<String>> {
    let Some(krate) = file.product_crate() else {
        return Ok(Vec::new());
    };
    let tokens = file.product_tokens()?;
    let mut found = Vec::new();
    for fence in CALL_FENCES.iter().filter(|fence| !fence.only_in.contains(&krate)) {
        for call in fence.calls {
            let say = |line| format!("{}:{line}: `{call}` in {krate}: {}", file.path, fence.because);
            found.extend(mentions(&tokens, call).into_iter().map(say));
        }
    }
    Ok(found)
}

/// Rows of the table itself that contradict the layers: an edge goes down, never up or sideways.
#[cfg(test)]
fn edges_not_downward(rows: &[Row]) -> Vec<String> {
    let layer = |name: &str| rows.iter().find(|row| row.name == name).map(|row| row.layer);
    let mut found = Vec::new();
    for row in rows {
        let Only(names) = row.may_use else { continue };
        let upward = names.iter().filter(|name| layer(name).is_none_or(|below| below >= row.layer));
        found.extend(upward.map(|name| format!("{} -> {name}", row.name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::row;
    use super::*;
    use crate::source::{self, file};
    use crate::workspace;

    /// This workspace with one more dependency than it has.
    fn with_edge(name: &str, dependency: &str) -> Vec<Package> {
        let mut packages = workspace::packages().unwrap();
        let package = packages.iter_mut().find(|package| package.name == name).unwrap();
        package.dependencies.push(dependency.into());
        packages
    }

    fn with_package(name: &str, manifest: &str, dependencies: &[&str]) -> Vec<Package> {
        let dependencies = dependencies.iter().map(|name| (*name).into()).collect();
        let package = Package { name: name.into(), manifest: manifest.into(), dependencies };
        [workspace::packages().unwrap(), vec![package]].concat()
    }

    fn one(found: Vec<String>) -> String {
        assert_eq!(found.len(), 1, "{found:#?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn the_workspace_keeps_its_layers() {
        let found = violations(&workspace::packages().unwrap(), &source::files().unwrap()).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn the_table_itself_goes_down() {
        assert_eq!(edges_not_downward(ROWS), Vec::<String>::new());
        let sideways = [row(1, "a", Only(&["b"]), Here), row(1, "b", Only(&[]), Here)];
        assert_eq!(edges_not_downward(&sideways), ["a -> b"]);
    }

    #[test]
    fn an_edge_upward_is_found() {
        let said = one(edges_only(&with_edge("insula-infra", "insula-agent")));
        assert!(said.starts_with("insula-infra uses insula-agent"), "{said}");
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let said = one(edges_only(&with_package("insula-new", "crates/insula-new/Cargo.toml", &[])));
        assert!(said.starts_with("insula-new has no row"), "{said}");
    }

    #[test]
    fn a_row_without_a_crate_is_found() {
        let mut packages = workspace::packages().unwrap();
        packages.retain(|package| package.name != "insula-sqlite");
        let said = one(missing_crates(&packages));
        assert!(said.starts_with("insula-sqlite has a row"), "{said}");
    }

    #[test]
    fn an_outside_crate_beyond_its_fence_is_found() {
        for (package, outside) in [("insula-engine", "sqlx"), ("insula-app", "axum"), ("insula-agent", "anyhow")] {
            let said = one(edges_only(&with_edge(package, outside)));
            assert!(said.starts_with(&format!("{package} uses {outside}")), "{said}");
        }
    }

    #[test]
    fn an_example_may_use_anything_but_a_driver() {
        let manifest = "examples/first/Cargo.toml";
        assert_eq!(edges_only(&with_package("first", manifest, &["insula-engine", "anyhow"])), Vec::<String>::new());
        one(edges_only(&with_package("first", manifest, &["sqlx"])));
    }

    #[test]
    fn a_task_started_outside_the_engine_is_found() {
        let text = "use tokio::task;\nfn a() {\n    task::spawn(b());\n}";
        let said = one(fenced_calls(&file("crates/insula-agent/src/kit.rs", text)).unwrap());
        assert!(said.starts_with("crates/insula-agent/src/kit.rs:3:"), "{said}");
        assert!(fenced_calls(&file("crates/insula-engine/src/worker.rs", text)).unwrap().is_empty());
    }

    #[test]
    fn a_look_into_the_environment_is_found() {
        let text = "fn a() { std::env::var(\"HOME\"); }";
        one(fenced_calls(&file("crates/insula-sqlite/src/lib.rs", text)).unwrap());
        assert!(fenced_calls(&file("crates/insula-app/src/main.rs", text)).unwrap().is_empty());
    }

    /// What the manifests alone violate, beyond what this workspace does at the moment of the test.
    fn edges_only(packages: &[Package]) -> Vec<String> {
        let before = violations(&workspace::packages().unwrap(), &[]).unwrap();
        let mut found = violations(packages, &[]).unwrap();
        found.retain(|violation| !before.contains(violation));
        found
    }
}
