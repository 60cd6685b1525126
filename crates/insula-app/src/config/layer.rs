//! The four sources, each as a list of values that know where they were written.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::keys;
use crate::{
    cli::SettingFlags,
    environment::{Environment, OTLP_ENDPOINT, PREFIX},
    exit::Stop,
};

/// The file that is read when nobody names one.
const FILE: &str = "insula.toml";

/// What stands behind the origin of a default.
pub(super) const DEFAULT: &str = "default";

/// The values of one source. A `config` source of our own, because its environment source cannot tell `data_dir` from
/// `data.dir`, and neither it nor the flags would say which variable or flag a value came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    values: Vec<(String, Value)>,
    /// Relative paths in this source are meant from here.
    pub(super) folder: Option<(String, PathBuf)>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.iter().cloned().collect())
    }
}

impl Layer {
    fn add(&mut self, key: &str, origin: impl Into<String>, value: impl Into<ValueKind>) {
        self.values.push((key.to_owned(), Value::new(Some(&origin.into()), value)));
    }

    pub(super) fn defaults() -> Self {
        let mut layer = Self::default();
        for key in keys::KEYS {
            if let Some(value) = key.default {
                layer.add(key.name, DEFAULT, value);
            }
        }
        layer
    }

    /// The file that is named, or the one in the working directory if there is one.
    pub(super) fn file(flag: Option<&Path>, environment: &Environment) -> Result<Self, Stop> {
        let variable = environment.ours.get(CONFIG_VARIABLE).map(PathBuf::from);
        let named = flag.map(Path::to_owned).or(variable);
        let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE));
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(error) => Err(Stop::configuration(format!("{}: it cannot be read", path.display()))
                .because(error)
                .advise("give another file with --config, or create this one")),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Stop> {
        let origin = path.display().to_string();
        let table = File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
            let problem = match error {
                ConfigError::FileParse { cause, .. } => without_excerpt(&cause.to_string()),
                error => error.to_string(),
            };
            Stop::configuration(format!("{origin}: it is not valid TOML")).because(problem)
        })?;
        let mut layer = Self::default();
        for (key, value) in leaves("", table) {
            known(&key, &format!("{origin}: unknown key \"{key}\""))?;
            layer.add(&key, origin.clone(), value.kind);
        }
        layer.folder = path.parent().map(|folder| (origin, folder.to_owned()));
        Ok(layer)
    }

    pub(super) fn environment(environment: &Environment) -> Result<Self, Stop> {
        let mut layer = Self::default();
        // First, so that a variable of ours wins.
        if let Some(endpoint) = &environment.otlp_endpoint {
            layer.add("otlp.endpoint", format!("environment {OTLP_ENDPOINT}"), endpoint.as_str());
        }
        for (variable, value) in environment.ours.iter().filter(|(name, _)| *name != CONFIG_VARIABLE) {
            let key = keys::of_variable(variable).ok_or_else(|| {
                Stop::configuration(format!("environment: {variable} is no setting"))
                    .advise(format!("unset it; a setting's variable is {PREFIX} and its name, as in INSULA_DATA_DIR"))
            })?;
            layer.once(key.name, variable)?;
            layer.add(key.name, format!("environment {variable}"), value.as_str());
        }
        Ok(layer)
    }

    /// A setting that has two variables is said by one of them.
    fn once(&self, key: &str, variable: &str) -> Result<(), Stop> {
        let ours = format!("environment {PREFIX}");
        let said = self.values.iter().filter(|(name, _)| name == key).filter_map(|(_, value)| value.origin());
        match said.into_iter().find(|origin| origin.starts_with(&ours)) {
            Some(other) => Err(Stop::configuration(format!("environment: {variable} says what {other} says as well"))
                .advise("unset one of them")),
            None => Ok(()),
        }
    }

    pub(super) fn flags(flags: &SettingFlags) -> Result<Self, Stop> {
        let mut layer = Self::default();
        for (key, value) in [
            ("data_dir", &flags.data_dir),
            ("database", &flags.database),
            ("user", &flags.user),
            ("tenant", &flags.tenant),
            ("server", &flags.server),
            ("key", &flags.key),
        ] {
            if let Some(value) = value {
                layer.add(key, format!("flag --{}", key.replace('_', "-")), value.as_str());
            }
        }
        for set in &flags.set {
            let (key, value) = set
                .split_once('=')
                .ok_or_else(|| Stop::usage(format!("--set {set}: a key, = and a value are wanted")))?;
            known(key, &format!("--set: unknown key \"{key}\""))?;
            layer.add(key, "flag --set", value);
        }
        Ok(layer)
    }
}

/// What is wrong, without the lines of the file, which may be where a secret stands.
fn without_excerpt(problem: &str) -> String {
    let is_excerpt =
        |line: &&str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim().starts_with('|');
    problem.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join("\n")
}

/// Names the file.
pub(super) const CONFIG_VARIABLE: &str = "INSULA_CONFIG";

fn known(key: &str, message: &str) -> Result<(), Stop> {
    match keys::named(key) {
        Some(_) => Ok(()),
        None => Err(Stop::configuration(message).advise(format!("there are: {}", keys::names()))),
    }
}

/// Every value that is not a table, by its whole path; sorted, so that the first complaint is always the same.
fn leaves(path: &str, table: Map<String, Value>) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        match value.kind {
            ValueKind::Table(table) => found.extend(leaves(&path, table)),
            _ => found.push((path, value)),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}
