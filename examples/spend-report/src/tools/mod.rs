//! The tools: one for each analysis, and one that writes the report.
//!
//! An analysis computes with SQL in the owner's own database and answers with compact JSON. It reads one load, which
//! `spend-data` made, and changes nothing.

mod latency;
mod rows;
mod savings;
mod spend;
pub(crate) mod trend;
mod write_report;

use std::{path::PathBuf, sync::Arc, time::Duration};

use insula_agent::{Effect, Tool, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use latency::{Bucket, Latency, LatencyArguments, ModelLatency, Outlier};
pub use savings::{CacheArguments, Combined, CombinedArguments, DuplicateArguments, Group, OversizedArguments, Saving};
pub use spend::{Share, Spend};
pub use trend::{Anomaly, Day, Trend};
pub use write_report::{ReportFile, WriteArguments, Written};

/// Says which records to look at.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoadArguments {
    /// The load that `spend-data` made.
    pub load: String,
}

/// Every tool. Reports are written below `root`; nothing else outside the owner's database is touched.
pub fn tools(root: PathBuf) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(spend::by_team()),
        Arc::new(trend::trend()),
        Arc::new(savings::duplicate_prompts()),
        Arc::new(savings::oversized_models()),
        Arc::new(savings::cache_misses()),
        Arc::new(savings::saving_potential()),
        Arc::new(latency::outliers()),
        Arc::new(write_report::write_report(root)),
    ]
}

/// A tool that reads one load and changes nothing.
fn analysis<A: JsonSchema>(name: &str, description: &str) -> ToolSpec {
    ToolSpec::new::<A>(name).describe(description).effect(Effect::Pure).timeout(Duration::from_secs(30))
}
