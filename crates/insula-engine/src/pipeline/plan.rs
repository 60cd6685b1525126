//! The plan of a pipeline: checked when it is built, so that nothing runs of one that cannot work.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Step, Work};

/// What is wrong with a plan. Nothing of it has run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is nothing to do.
    #[error("the pipeline \"{pipeline}\" has no steps")]
    Empty {
        /// The pipeline.
        pipeline: String,
    },
    /// Two steps have one name.
    #[error("the pipeline \"{pipeline}\" has two steps called \"{step}\"")]
    Duplicate {
        /// The pipeline.
        pipeline: String,
        /// The name.
        step: String,
    },
    /// A step waits for one that is not there.
    #[error("the step \"{step}\" of the pipeline \"{pipeline}\" waits for \"{missing}\", which does not exist")]
    Unknown {
        /// The pipeline.
        pipeline: String,
        /// The step that waits.
        step: String,
        /// What it waits for.
        missing: String,
    },
    /// Steps wait for each other in a circle.
    #[error("the steps of the pipeline \"{pipeline}\" wait for each other: {}", steps.join(", "))]
    Cycle {
        /// The pipeline.
        pipeline: String,
        /// Those that could never start, sorted.
        steps: Vec<String>,
    },
}

/// Builds a [`Pipeline`].
#[must_use = "a pipeline exists only once it is built"]
pub struct PipelineBuilder {
    name: String,
    steps: Vec<Step>,
    finally: Vec<Step>,
}

/// Several agents as one. A clone is the same plan.
///
/// ```
/// use insula_engine::{Pipeline, Step};
/// use serde_json::json;
///
/// let pipeline = Pipeline::builder("review")
///     .step(Step::agent("draft", "writer"))
///     .step(Step::agent("check", "critic").when(|seen| seen.result("draft").is_some()))
///     .finally(Step::agent("tidy", "janitor").input(|seen| json!({"failed": seen.failures().count()})))
///     .build()?;
/// # Ok::<(), insula_engine::PlanError>(())
/// ```
#[derive(Clone)]
pub struct Pipeline {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    pub(super) finally: Vec<Step>,
}

impl Pipeline {
    /// An empty plan.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder { name: name.into(), steps: Vec::new(), finally: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PipelineBuilder {
    /// Adds a step. It waits for the one before unless it says otherwise.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a step that runs after all others, whatever came of them. Only the end of the whole run keeps it from running:
    /// stop stops.
    pub fn finally(mut self, step: Step) -> Self {
        self.finally.push(step);
        self
    }

    /// Checks the plan.
    ///
    /// # Errors
    /// [`PlanError`]: no steps, two of one name, a wait for nobody, a wait in a circle.
    pub fn build(self) -> Result<Pipeline, PlanError> {
        let Self { name: pipeline, mut steps, finally } = self;
        if steps.is_empty() && finally.is_empty() {
            return Err(PlanError::Empty { pipeline });
        }
        wait_for_the_one_before(&mut steps);
        let names = distinct_names(&pipeline, steps.iter().chain(&finally))?;
        all_known(&pipeline, &steps, &names)?;
        no_cycle(&pipeline, &steps)?;
        Ok(Pipeline { name: pipeline, steps, finally })
    }
}

/// Spells out what a step waits for when it does not say so itself. Such a step is not `dependency_failed` later: it is
/// simply not reached.
fn wait_for_the_one_before(steps: &mut [Step]) {
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    for (step, before) in steps.iter_mut().skip(1).zip(names) {
        step.implicit = step.after.is_none();
        step.after.get_or_insert_with(|| vec![before]);
    }
}

fn distinct_names<'a>(pipeline: &str, steps: impl Iterator<Item = &'a Step>) -> Result<BTreeSet<String>, PlanError> {
    let mut names = BTreeSet::new();
    let mut todo: Vec<&Step> = steps.collect();
    while let Some(step) = todo.pop() {
        if !names.insert(step.name.clone()) {
            return Err(PlanError::Duplicate { pipeline: pipeline.to_owned(), step: step.name.clone() });
        }
        match &step.work {
            Work::Agent(_) => {}
            Work::Parallel(steps) => todo.extend(steps),
            Work::Repeat { body, .. } => todo.push(body),
        }
    }
    Ok(names)
}

fn all_known(pipeline: &str, steps: &[Step], names: &BTreeSet<String>) -> Result<(), PlanError> {
    for step in steps {
        if let Some(missing) = step.waits_for().iter().find(|name| !names.contains(*name)) {
            let (pipeline, step, missing) = (pipeline.to_owned(), step.name.clone(), missing.clone());
            return Err(PlanError::Unknown { pipeline, step, missing });
        }
    }
    Ok(())
}

/// Takes away what can start, again and again; what is left waits for itself.
fn no_cycle(pipeline: &str, steps: &[Step]) -> Result<(), PlanError> {
    let mut left: BTreeMap<&str, &[String]> = steps.iter().map(|step| (&*step.name, step.waits_for())).collect();
    loop {
        let before = left.len();
        let waiting: BTreeSet<&str> = left.keys().copied().collect();
        left.retain(|_, after| after.iter().any(|name| waiting.contains(&**name)));
        if left.is_empty() {
            return Ok(());
        }
        if left.len() == before {
            let steps = left.into_keys().map(str::to_owned).collect();
            return Err(PlanError::Cycle { pipeline: pipeline.to_owned(), steps });
        }
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.steps.iter().chain(&self.finally).map(Step::name).collect();
        f.debug_struct("Pipeline").field("name", &self.name).field("steps", &names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Step {
        Step::agent(name, "echo")
    }

    fn refused(builder: PipelineBuilder) -> String {
        builder.build().expect_err("the plan is wrong").to_string()
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused_before_anything_runs() {
        let plan = || Pipeline::builder("p");
        assert_eq!(refused(plan()), "the pipeline \"p\" has no steps");
        assert_eq!(refused(plan().step(step("a")).finally(step("a"))), "the pipeline \"p\" has two steps called \"a\"");
        assert_eq!(
            refused(plan().step(step("a").after(["z"]))),
            "the step \"a\" of the pipeline \"p\" waits for \"z\", which does not exist"
        );
        let circle = plan().step(step("a").after(["c"])).step(step("b")).step(step("c")).step(step("d").after(["a"]));
        assert_eq!(refused(circle), "the steps of the pipeline \"p\" wait for each other: a, b, c, d");
        assert!(plan().step(step("a").after(["b"])).step(step("b").after(Vec::<String>::new())).build().is_ok());
    }
}
