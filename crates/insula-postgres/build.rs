//! Tells tests which schema this is, so that a changed one is tried on a database of its own.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
};

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    let mut hasher = DefaultHasher::new();
    let mut files: Vec<_> =
        fs::read_dir("migrations").into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.sort();
    for file in files {
        fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    println!("cargo::rustc-env=INSULA_SCHEMA_HASH={:016x}", hasher.finish());
}
