//! Which settings there are.

use crate::environment::PREFIX;

/// A setting's name, its default and what it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    /// As it would be written in the environment; without one, the value is derived from another setting.
    pub default: Option<&'static str>,
    pub about: &'static str,
}

/// Stands for no value where one is optional.
pub(super) const NONE: &str = "none";

const fn key(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, default: Some(default), about }
}

/// Every setting, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key("data_dir", "./insula-data", "where everything is stored"),
    Key { name: "database", default: None, about: "the database file" },
    key("tenant", "local", "the tenant of the user"),
    key("user", "local", "on whose behalf"),
    key("server", NONE, "the server that commands are done by, instead of here"),
    key("key", NONE, "what that server lets the user in with, or @FILE"),
    key("sync", "full", "a commit waits for the disk (full) or the operating system (normal)"),
    key("log.filter", "warn", "what is logged, by level and target"),
    key("log.format", "text", "how it is logged: text or json"),
    key("limits.engines", "100", "live engines of a user"),
    key("limits.running", "64", "running runs of a user"),
    key("limits.waiting", "10000", "runs of a user that wait for their turn"),
    key("limits.tool_calls", "64", "tool calls of a user in flight"),
    key("limits.queued", "10000", "runs of a user in the queue that were never begun"),
    key("limits.run_time", "1h", "how long a run may be worked on at a stretch"),
    key("limits.park_after", "1s", "how long a run only waits before nothing of it is in memory"),
    key("limits.lease", "30s", "how long a lost process keeps its runs from others"),
    key("limits.retention", "never", "how long a conversation is kept after its last run"),
    key("limits.grace", "500ms", "how long a stopped agent may take to end"),
];

/// The setting of this name.
pub(crate) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names of all, for whoever used another.
pub(crate) fn names() -> String {
    KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
}

impl Key {
    /// Its variable in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase().replace('.', "_"))
    }
}
