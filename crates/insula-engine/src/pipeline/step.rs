//! One step, and what it sees of the others.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

pub(super) type Choose = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;
pub(super) type Prepare = Arc<dyn Fn(&Seen) -> Value + Send + Sync>;
pub(super) type Enough = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

/// What a step does.
#[derive(Clone)]
pub(super) enum Work {
    Agent(String),
    Parallel(Vec<Step>),
    Repeat { body: Box<Step>, most: usize, enough: Enough },
}

/// A step of a [`Pipeline`](crate::Pipeline).
#[derive(Clone)]
pub struct Step {
    pub(super) name: String,
    pub(super) work: Work,
    /// What it waits for; before the plan is built, `None` stands for the step before.
    pub(super) after: Option<Vec<String>>,
    /// It waits for the step before because it did not say anything else.
    pub(super) implicit: bool,
    pub(super) when: Option<Choose>,
    pub(super) input: Option<Prepare>,
    pub(super) timeout: Option<Duration>,
    pub(super) continue_on_error: bool,
}

impl Step {
    fn new(name: impl Into<String>, work: Work) -> Self {
        let name = name.into();
        Self {
            name,
            work,
            after: None,
            implicit: false,
            when: None,
            input: None,
            timeout: None,
            continue_on_error: false,
        }
    }

    /// Runs an agent class.
    pub fn agent(name: impl Into<String>, class: impl Into<String>) -> Self {
        Self::new(name, Work::Agent(class.into()))
    }

    /// Runs several steps side by side. Its result is an object with the result of each under its name.
    pub fn parallel(name: impl Into<String>, steps: impl IntoIterator<Item = Self>) -> Self {
        Self::new(name, Work::Parallel(steps.into_iter().collect()))
    }

    /// Runs a step again and again, each time with its last result, until that is enough or `most` rounds are over.
    pub fn repeat(
        name: impl Into<String>,
        body: Self,
        most: usize,
        enough: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Work::Repeat { body: Box::new(body), most, enough: Arc::new(enough) })
    }

    /// Waits for these steps instead of the one before; for none, when there are none.
    #[must_use]
    pub fn after<S: Into<String>>(mut self, steps: impl IntoIterator<Item = S>) -> Self {
        self.after = Some(steps.into_iter().map(Into::into).collect());
        self
    }

    /// Runs only when the condition holds; is skipped otherwise.
    #[must_use]
    pub fn when(mut self, condition: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(condition));
        self
    }

    /// Prepares its input from what there is. By default it is the result of the step that it waits for.
    #[must_use]
    pub fn input(mut self, prepare: impl Fn(&Seen) -> Value + Send + Sync + 'static) -> Self {
        self.input = Some(Arc::new(prepare));
        self
    }

    /// Fails with `timeout` when it takes longer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The pipeline goes on when this step fails.
    #[must_use]
    pub fn continue_on_error(mut self) -> Self {
        self.continue_on_error = true;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many places in the order of calls it may take: each call has the same one whenever it is made.
    pub(super) fn width(&self) -> u32 {
        match &self.work {
            Work::Agent(_) => 1,
            Work::Parallel(steps) => steps.iter().fold(0, |sum, step| sum.saturating_add(step.width())),
            Work::Repeat { body, most, .. } => body.width().saturating_mul(u32::try_from(*most).unwrap_or(u32::MAX)),
        }
    }

    pub(super) fn waits_for(&self) -> &[String] {
        self.after.as_deref().unwrap_or_default()
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// With a result.
    Ok,
    /// With a failure.
    Failed,
    /// Its condition did not hold.
    Skipped,
    /// A step that it waits for by name failed.
    DependencyFailed,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepError {
    /// The class of failure: `error`, `timeout`, `panic`, `returned_nothing`, `cancelled`, `refused`.
    pub reason: String,
    /// What happened, in words for the user.
    pub message: String,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepOutcome {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: StepStatus,
    /// Its result, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

/// What a step sees: the pipeline's input and what came of the steps before it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub(super) input: Value,
    pub(super) steps: Vec<StepOutcome>,
}

impl Seen {
    /// The pipeline's input.
    pub fn input(&self) -> &Value {
        &self.input
    }

    /// What came of a step that has ended.
    pub fn step(&self, name: &str) -> Option<&StepOutcome> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The result of a step that has ended well.
    pub fn result(&self, name: &str) -> Option<&Value> {
        self.step(name)?.result.as_ref()
    }

    /// The steps that failed.
    pub fn failures(&self) -> impl Iterator<Item = &StepOutcome> {
        self.steps.iter().filter(|step| step.error.is_some())
    }

    /// The results of these steps: the one itself when there is one, an object by name when there are more.
    pub(super) fn results(&self, names: &[String]) -> Value {
        match names {
            [] => self.input.clone(),
            [name] => self.result(name).cloned().unwrap_or_default(),
            names => names
                .iter()
                .filter_map(|name| Some((name.clone(), self.result(name)?.clone())))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}
