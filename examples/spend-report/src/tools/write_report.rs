//! `write_report`: the report as two files, in a folder of the owner's.
//!
//! The tool takes what the report says and renders it itself, so no caller can put mark-up of its own into a file.

use std::path::{Path, PathBuf};

use insula_agent::{Effect, Error, Result, Tool, ToolCall, ToolSpec, tool_fn};
use insula_context::UserScope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{fs, io::AsyncWriteExt};

use crate::report::{self, Report};

/// Arguments of `write_report`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WriteArguments {
    /// The load that the report is about. The folder is called by it.
    pub load: String,
    /// What the report says.
    pub report: Report,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// The files, named from the folder of all reports.
    pub files: Vec<ReportFile>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportFile {
    /// Its name from the folder of all reports on.
    pub path: String,
    /// How long it is.
    pub bytes: usize,
}

pub(super) fn write_report(root: PathBuf) -> impl Tool {
    let spec = ToolSpec::new::<WriteArguments>("write_report")
        .describe("Writes a report as report.md and report.html into a folder of the user's own.")
        .effect(Effect::Idempotent)
        .timeout(std::time::Duration::from_secs(60));
    tool_fn(spec, move |call, wanted: WriteArguments| {
        let root = root.clone();
        async move { write(&root, &call, &wanted).await }
    })
}

async fn write(root: &Path, call: &ToolCall, WriteArguments { load, report }: &WriteArguments) -> Result<Written> {
    let folder = folder(call.context().scope(), load);
    let mut files = Vec::new();
    for (name, text) in [("report.md", report::markdown(report)), ("report.html", report::html(report))] {
        let replaced = replace(&root.join(&folder), name, call.key(), text.as_bytes()).await;
        // The path is the operator's business: the words for the user name the file alone.
        replaced.map_err(|error| Error::caused(format!("The file {name} could not be written."), error))?;
        files.push(ReportFile { path: format!("{folder}/{name}"), bytes: text.len() });
    }
    Ok(Written { files })
}

/// Writes beside the file and renames: a reader sees the old file or the new one, and nothing half done.
async fn replace(folder: &Path, name: &str, key: &str, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder).await?;
    // Named by the call's key, so that an attempt after a crash uses the same name and leaves nothing behind.
    let beside = folder.join(format!(".{name}.{}", digest(key)));
    let mut file = fs::File::create(&beside).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    drop(file);
    fs::rename(&beside, folder.join(name)).await
}

/// Tenant, user, load: the first two are the caller's own, whatever the arguments say. The tenant is there because two
/// tenants may have a user of the same name.
fn folder(scope: &UserScope, load: &str) -> String {
    [scope.tenant().as_str(), scope.user().as_str(), load].map(component).join("/")
}

/// One component of a path from an id. Different ids give different components, and none leaves its folder: whatever is
/// not a plain letter, digit, `-`, `_` or an inner `.` is written as `=` and its bytes in hexadecimal, and what becomes
/// too long for a file system ends in a digest.
fn component(id: &str) -> String {
    const LONGEST: usize = 120;
    let mut name = String::new();
    if id.is_empty() {
        return "=".to_owned();
    }
    for (n, byte) in id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            b'.' if n > 0 && n + 1 < id.len() => name.push('.'),
            byte => name.push_str(&format!("={byte:02x}")),
        }
    }
    if name.len() <= LONGEST {
        return name;
    }
    name.truncate(LONGEST - 40);
    format!("{name}={}", digest(id))
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leaves_its_folder() {
        assert_eq!(component("ada@example.org"), "ada=40example.org");
        assert_eq!((component(".."), component("")), ("=2e=2e".into(), "=".into()));
        assert_eq!(component("../../etc/passwd"), "=2e.=2f..=2fetc=2fpasswd");
        assert_eq!(component("a\\b:c"), "a=5cb=3ac");
        assert!(component(&"é".repeat(64)).len() <= 120);
    }

    #[test]
    fn different_ids_have_different_folders() {
        let ids = ["a=2e", "a.", "a", "é", "=c3=a9", "a/b", "a=2fb"];
        let names: std::collections::BTreeSet<_> = ids.map(component).into();
        assert_eq!(names.len(), ids.len());
        let (long, longer) = ("é".repeat(63), "é".repeat(64));
        assert_ne!(component(&long), component(&longer));
    }

    #[tokio::test]
    async fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["first", "second"] {
            replace(folder.path(), "report.md", "a/../key", text.as_bytes()).await.expect("written");
        }
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).expect("readable").map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(names, ["report.md"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("report.md")).expect("text"), "second");
    }
}
