//! Where a server's programs are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Debian keeps the servers of all versions here, and only their clients on the path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder of `initdb` and `postgres`, if there is one: first on the path, then the newest that Debian has.
#[expect(clippy::disallowed_methods, reason = "the path is where the machine says its programs are")]
pub(crate) fn postgres() -> Option<PathBuf> {
    postgres_in(&std::env::var_os("PATH").unwrap_or_default(), Path::new(DEBIAN))
}

fn postgres_in(path: &OsStr, debian: &Path) -> Option<PathBuf> {
    std::env::split_paths(path).find(|folder| is_postgres(folder)).or_else(|| newest(debian))
}

/// A path may lead to a wrapper for one of them; what starts a server is a folder that has both.
fn is_postgres(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}

fn newest(debian: &Path) -> Option<PathBuf> {
    let versions = debian.read_dir().ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbered =
        versions.filter_map(|version| Some((version.parse::<u32>().ok()?, debian.join(version).join("bin"))));
    numbered.filter(|(_, folder)| is_postgres(folder)).max().map(|(_, folder)| folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn with(root: &Path, programs: &[&str]) {
        for program in programs {
            let file = root.join(program);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
    }

    #[test]
    fn the_path_comes_first_where_it_has_the_whole_server() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        with(root, &["wrapper/postgres", "whole/postgres", "whole/initdb", "debian/15/bin/postgres"]);
        let path = std::env::join_paths([root.join("wrapper"), root.join("whole")]).unwrap();
        assert_eq!(postgres_in(&path, &root.join("debian")), Some(root.join("whole")));
    }

    #[test]
    fn of_debians_versions_it_is_the_newest_that_has_a_server() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        with(
            root,
            &["9/bin/postgres", "9/bin/initdb", "15/bin/postgres", "15/bin/initdb", "16/bin/psql", "x/bin/initdb"],
        );
        assert_eq!(postgres_in(OsStr::new(""), root), Some(root.join("15/bin")));
        assert_eq!(postgres_in(OsStr::new(""), &root.join("nothing")), None);
    }
}
