//! The packages of this workspace as cargo itself reads their manifests.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the workspace root, with `/` between folders.
    pub(crate) manifest: String,
    /// What the package needs to be built, be it optional or for one platform only. What its tests need in
    /// addition is not here: a test may look at its crate from above.
    pub(crate) dependencies: Vec<String>,
}

pub(crate) fn packages() -> Result<Vec<Package>> {
    let output = cargo::command(&["metadata", "--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    read(&serde_json::from_slice(&output.stdout)?)
}

fn read(metadata: &Value) -> Result<Vec<Package>> {
    let root = text(metadata, "workspace_root")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    packages.iter().map(|package| read_package(package, root)).collect()
}

fn read_package(package: &Value, root: &str) -> Result<Package> {
    let manifest = text(package, "manifest_path")?;
    let dependencies = package["dependencies"].as_array().context("a package lists no dependencies")?;
    let needed_to_build = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
    Ok(Package {
        name: text(package, "name")?.into(),
        manifest: manifest.strip_prefix(root).unwrap_or(manifest).replace('\\', "/").trim_start_matches('/').into(),
        // `name` is the crate's own name even where the manifest renames it.
        dependencies: needed_to_build.map(|it| text(it, "name").map(String::from)).collect::<Result<_>>()?,
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no `{key}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_real_names_and_leaves_out_what_only_tests_need() {
        let metadata = json!({
            "workspace_root": "/somewhere/insula",
            "packages": [{
                "name": "insula-infra",
                "manifest_path": "/somewhere/insula/crates/insula-infra/Cargo.toml",
                "dependencies": [
                    {"name": "insula-context", "rename": null, "kind": null},
                    {"name": "sqlx", "rename": "sql", "kind": null},
                    {"name": "cc", "rename": null, "kind": "build"},
                    {"name": "proptest", "rename": null, "kind": "dev"},
                ],
            }],
        });
        let expected = Package {
            name: "insula-infra".into(),
            manifest: "crates/insula-infra/Cargo.toml".into(),
            dependencies: ["insula-context", "sqlx", "cc"].map(String::from).into(),
        };
        assert_eq!(read(&metadata).unwrap(), [expected]);
    }
}
