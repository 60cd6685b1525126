//! From merged values to checked settings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Config, ConfigError, Source, Value, ValueKind};

use super::{
    KeySource, Limits, Log, LogFormat, Server, Setting, Settings, Sync,
    keys::{KEYS, Key, NONE},
    layer::Layer,
};
use crate::exit::Stop;

/// The winning values, each with its origin.
pub(super) struct Values {
    values: BTreeMap<String, Value>,
    /// The file, and the folder that its relative paths are meant from.
    folder: Option<(String, PathBuf)>,
}

impl Values {
    pub(super) fn merge(layers: [Layer; 4]) -> Result<Self, Stop> {
        let folder = layers.iter().find_map(|layer| layer.folder.clone());
        let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
        let merged = builder.build().and_then(|config| config.collect());
        let mut values = BTreeMap::new();
        flatten("", merged.map_err(|error| Stop::configuration(error.to_string()))?, &mut values);
        Ok(Self { values, folder })
    }

    pub(super) fn read<T>(&self, key: &str, into: impl FnOnce(Value) -> Result<T, ConfigError>) -> Result<T, Stop> {
        let value = self.values.get(key).cloned().unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        let origin = origin(&value);
        // Without its origin, which the error would repeat.
        into(Value::new(None, value.kind)).map_err(|error| Stop::configuration(format!("{origin}: {key}: {error}")))
    }

    /// Whether anybody has said anything, or there is a default.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    pub(super) fn text(&self, key: &str) -> Result<String, Stop> {
        let text = self.read(key, Value::into_string)?;
        self.check(key, !text.trim().is_empty(), "it is blank")?;
        Ok(text)
    }

    pub(super) fn check(&self, key: &str, holds: bool, problem: &str) -> Result<(), Stop> {
        self.read(key, |_| if holds { Ok(()) } else { Err(ConfigError::Message(problem.to_owned())) })
    }

    /// A path; a relative one in the file is meant from the file's folder.
    pub(super) fn path(&self, key: &str) -> Result<PathBuf, Stop> {
        Ok(self.below(key, PathBuf::from(self.text(key)?)))
    }

    pub(super) fn below(&self, key: &str, path: PathBuf) -> PathBuf {
        let from = self.values.get(key).map(origin).unwrap_or_default();
        match &self.folder {
            Some((file, folder)) if *file == from && folder != Path::new("") => folder.join(path),
            _ => path,
        }
    }

    pub(super) fn count(&self, key: &str) -> Result<usize, Stop> {
        let count = self.read(key, Value::into_uint)?;
        self.check(key, count > 0, "at least 1 is needed")?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn duration(&self, key: &str) -> Result<Duration, Stop> {
        let text = self.text(key)?;
        let problem = format!("\"{text}\" is no duration: write 500ms, 90s, 5m or 1h");
        let duration = humantime::parse_duration(&text).unwrap_or_default();
        self.check(key, !duration.is_zero(), &problem)?;
        Ok(duration)
    }

    fn duration_or_never(&self, key: &str) -> Result<Option<Duration>, Stop> {
        if self.text(key)? == "never" { Ok(None) } else { self.duration(key).map(Some) }
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, Stop> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, chosen)| *chosen);
        self.read(key, |_| {
            let words = || choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" nor ");
            chosen.ok_or_else(|| ConfigError::Message(format!("\"{text}\" is neither {}", words())))
        })
    }

    fn address_or_off(&self, key: &str) -> Result<Option<String>, Stop> {
        let text = self.text(key)?;
        if text == "off" {
            return Ok(None);
        }
        let is_address = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        self.check(
            key,
            is_address,
            &format!("\"{text}\" is neither \"off\" nor an address like http://localhost:4318"),
        )?;
        Ok(Some(text))
    }

    fn setting(&self, key: &Key, settings: &Settings) -> Setting {
        let value = self.values.get(key.name);
        let shown = match key.name {
            "data_dir" => settings.data_dir.display().to_string(),
            "database" if matches!(settings.database, super::Database::File(_)) => settings.database.shown(),
            "database" | "database_owner" | "database_direct" | "database_reads" | "redis" => shown_address(value),
            "key" => shown_key(value),
            // A list, from a file.
            _ if value.is_some_and(|value| matches!(value.kind, ValueKind::Array(_))) => {
                let items = value.and_then(|value| value.clone().into_array().ok()).unwrap_or_default();
                items.into_iter().filter_map(|item| item.into_string().ok()).collect::<Vec<_>>().join(", ")
            }
            _ => value.and_then(|value| value.clone().into_string().ok()).unwrap_or_default(),
        };
        let origin = value.map_or_else(|| "default, in data_dir".to_owned(), origin);
        Setting { key: key.name, value: shown, origin, about: key.about }
    }
}

fn origin(value: &Value) -> String {
    value.origin().unwrap_or(super::layer::DEFAULT).to_owned()
}

fn flatten(path: &str, table: config::Map<String, Value>, into: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        match value.kind {
            ValueKind::Table(table) => flatten(&path, table, into),
            _ => drop(into.insert(path, value)),
        }
    }
}

/// Checks everything.
pub(super) fn settings(values: &Values) -> Result<Settings, Stop> {
    let data_dir = values.path("data_dir")?;
    let mut settings = Settings {
        database: super::storage::database(values, &data_dir)?,
        redis: super::storage::redis(values)?,
        node: super::storage::node(values)?,
        data_dir,
        tenant: values.text("tenant")?,
        user: values.text("user")?,
        server: server(values)?,
        sync: values.choice("sync", &[("full", Sync::Full), ("normal", Sync::Normal)])?,
        log: Log {
            filter: values.text("log.filter")?,
            format: values.choice(
                "log.format",
                &[("text", LogFormat::Text), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)],
            )?,
        },
        otlp: values.address_or_off("otlp.endpoint")?,
        limits: limits(values)?,
        serve: super::serve::serve(values)?,
        origins: Vec::new(),
    };
    settings.origins = KEYS.iter().map(|key| values.setting(key, &settings)).collect();
    Ok(settings)
}

fn server(values: &Values) -> Result<Option<Server>, Stop> {
    let address = values.text("server")?;
    let key = values.text("key")?;
    let key = match key.strip_prefix('@') {
        Some(file) => KeySource::File(values.below("key", PathBuf::from(file))),
        None if key == NONE => KeySource::Nowhere,
        None => KeySource::Given(insula_client::Key::new(key)),
    };
    Ok((address != NONE).then_some(Server { address, key }))
}

/// A password is shown to nobody either.
fn shown_address(value: Option<&Value>) -> String {
    let text = value.and_then(|value| value.clone().into_string().ok()).unwrap_or_default();
    if text.contains("://") { super::Address::new(text).to_string() } else { text }
}

/// A key is shown to nobody; the name of its file may be.
fn shown_key(value: Option<&Value>) -> String {
    match value.and_then(|value| value.clone().into_string().ok()) {
        Some(key) if key == NONE || key.starts_with('@') => key,
        _ => "hidden".to_owned(),
    }
}

fn limits(values: &Values) -> Result<Limits, Stop> {
    Ok(Limits {
        engines: values.count("limits.engines")?,
        running: values.count("limits.running")?,
        waiting: values.count("limits.waiting")?,
        tool_calls: values.count("limits.tool_calls")?,
        queued: values.count("limits.queued")?,
        run_time: values.duration("limits.run_time")?,
        park_after: values.duration("limits.park_after")?,
        lease: values.duration("limits.lease")?,
        retention: values.duration_or_never("limits.retention")?,
        grace: values.duration("limits.grace")?,
        connections: values.count("limits.connections")?,
    })
}
