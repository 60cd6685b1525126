//! Several agents as one: in order, side by side, on a condition, again and again, and always at the end.
//!
//! A pipeline is itself an agent. It runs as one run, whose steps are its children.

mod execute;
mod plan;
mod step;

pub use plan::{Pipeline, PipelineBuilder, PlanError};
pub use step::{Seen, Step, StepError, StepOutcome, StepStatus};

use crate::Outcome;

/// What came of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineOutcome {
    /// What came of the pipeline's own run.
    pub run: Outcome,
    /// What came of each step, in the order in which they ended. A step that was not reached is not here.
    pub steps: Vec<StepOutcome>,
}
