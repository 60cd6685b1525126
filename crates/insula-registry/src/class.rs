//! One agent class: what it is called, what it needs, and how an instance of it is made.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use insula_agent::{Agent, RetryPolicy};
use insula_context::Ceiling;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Something that a class needs from the installation. Without it, creating an instance is refused by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dependency {
    /// The owner's own database.
    Database,
    /// The owner's own cache.
    Cache,
    /// A tool of this name.
    Tool(String),
    /// Another agent class of this name.
    Agent(String),
    /// Anything else that whoever builds the engine provides under a name, a model for example.
    Service(String),
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("the database"),
            Self::Cache => f.write_str("the cache"),
            Self::Tool(name) => write!(f, "the tool \"{name}\""),
            Self::Agent(name) => write!(f, "the agent \"{name}\""),
            Self::Service(name) => write!(f, "the service \"{name}\""),
        }
    }
}

/// What a class can do beyond running, in a word that clients may filter by.
pub type Capability = String;

type Constructor = Arc<dyn Fn() -> Box<dyn Agent> + Send + Sync>;

/// How much of one class each user may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassLimits {
    /// Running runs of the class; more wait in the order in which they came. Children run under their parent's turn and
    /// are not counted.
    pub running: Option<usize>,
    /// How long a run of the class may take, its waiting for a turn included.
    pub timeout: Option<Duration>,
}

/// An agent class. Instances are made from it, one for each run; they are never reused.
#[derive(Clone)]
pub struct AgentClass {
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) description: String,
    pub(crate) needs: BTreeSet<Dependency>,
    pub(crate) input: Option<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) config: Option<Value>,
    pub(crate) capabilities: BTreeSet<Capability>,
    retry: Option<RetryPolicy>,
    budget: Ceiling,
    limits: ClassLimits,
    constructor: Constructor,
}

impl AgentClass {
    /// A class of this name and version, whose instances are made by `construct`.
    pub fn new<A: Agent + 'static>(
        name: impl AsRef<str>,
        version: impl AsRef<str>,
        construct: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: Arc::from(name.as_ref()),
            version: Arc::from(version.as_ref()),
            description: String::new(),
            needs: BTreeSet::new(),
            input: None,
            output: None,
            config: None,
            capabilities: BTreeSet::new(),
            retry: None,
            budget: Ceiling::default(),
            limits: ClassLimits::default(),
            constructor: Arc::new(move || Box::new(construct())),
        }
    }

    /// What it does, for people and models.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Needs another class.
    #[must_use]
    pub fn depends_on(self, class: impl Into<String>) -> Self {
        self.needs(Dependency::Agent(class.into()))
    }

    /// Needs something from the installation.
    #[must_use]
    pub fn needs(mut self, dependency: Dependency) -> Self {
        self.needs.insert(dependency);
        self
    }

    /// Accepts inputs of this type only. They are checked before a run is accepted.
    #[must_use]
    pub fn input<T: JsonSchema>(self) -> Self {
        self.input_schema(schemars::schema_for!(T).to_value())
    }

    /// Accepts inputs of this JSON Schema only. They are checked before a run is accepted.
    #[must_use]
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.input = Some(schema);
        self
    }

    /// Gives results of this type.
    #[must_use]
    pub fn output<T: JsonSchema>(mut self) -> Self {
        self.output = Some(schemars::schema_for!(T).to_value());
        self
    }

    /// Is configured by a value of this type.
    #[must_use]
    pub fn config<T: JsonSchema>(mut self) -> Self {
        self.config = Some(schemars::schema_for!(T).to_value());
        self
    }

    /// Can do something that clients may filter by.
    #[must_use]
    pub fn capability(mut self, capability: impl Into<Capability>) -> Self {
        self.capabilities.insert(capability.into());
        self
    }

    /// A run that fails with an error of this policy begins again from the top. What it has finished is not done again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// What a run of the class may spend, its children included. Where a run's own budget is lower, that one counts.
    #[must_use]
    pub fn budget(mut self, budget: Ceiling) -> Self {
        self.budget = budget;
        self
    }

    /// How much of the class each user may have.
    #[must_use]
    pub fn limits(mut self, limits: ClassLimits) -> Self {
        self.limits = limits;
        self
    }

    /// When a run that failed begins again.
    pub fn retry_policy(&self) -> Option<&RetryPolicy> {
        self.retry.as_ref()
    }

    /// What a run may spend.
    pub fn run_budget(&self) -> Ceiling {
        self.budget
    }

    /// How much of the class each user may have.
    pub fn class_limits(&self) -> ClassLimits {
        self.limits
    }

    /// The name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// What it does.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it needs, sorted.
    pub fn dependencies(&self) -> impl Iterator<Item = &Dependency> {
        self.needs.iter()
    }

    /// A fresh agent. The factory calls this; whoever calls it elsewhere gets an agent that nobody counts.
    pub fn construct(&self) -> Box<dyn Agent> {
        (self.constructor)()
    }

    pub(crate) fn classes_needed(&self) -> impl Iterator<Item = &str> {
        self.needs.iter().filter_map(|need| match need {
            Dependency::Agent(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl fmt::Debug for AgentClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentClass({} {})", self.name, self.version)
    }
}

impl Serialize for AgentClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut class = serializer.serialize_struct("AgentClass", 8)?;
        class.serialize_field("name", &self.name)?;
        class.serialize_field("version", &self.version)?;
        class.serialize_field("description", &self.description)?;
        class.serialize_field("dependencies", &self.needs)?;
        class.serialize_field("input_schema", &self.input)?;
        class.serialize_field("output_schema", &self.output)?;
        class.serialize_field("config_schema", &self.config)?;
        class.serialize_field("capabilities", &self.capabilities)?;
        class.end()
    }
}
