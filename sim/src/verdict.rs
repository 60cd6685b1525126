//! The end of a seed: everything that is left is held against the model, the ledger and the book.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use insula_agent::Effect;
use insula_infra::{FailReason, PageRequest, RunFilter, RunRecord, RunStatus, StateKey, StateSpace};
use serde_json::Value;

use crate::{
    actor::{self, PLANNED},
    book::Key,
    cluster::Cluster,
    model::{self, Ends},
    plan::{Op, Plan},
    story::Wishes,
    world::lock,
};

/// How long after a wish to stop, with nothing in its way, a run may still end otherwise.
const STOPPING: Duration = Duration::from_secs(8);

/// Looks at everything that has ended.
///
/// # Errors
/// When the store cannot be read.
pub async fn reach(cluster: &Cluster, wishes: &Wishes) -> Result<()> {
    let records = records(cluster, wishes).await?;
    let world = &cluster.world;
    for (key, plan) in &wishes.plans {
        let missing = (!records.contains_key(key)).then(|| format!("{} of {plan:?}", key.1));
        world.check("what was accepted is there", missing);
    }
    for (key, record) in &records {
        let plan: Plan = serde_json::from_str(record.input.get()).context("the input of a run is a plan")?;
        world.check("the result is one that the model allows", problem(record, &plan, key, &records, wishes));
        world.check("what was told is what was recorded", misled(cluster, record, key));
        world.check("stop stops", too_late(cluster, key, record, wishes));
        world.check("finished work was done", undone(cluster, record, &plan, key));
        world.check("what failed is taken back", taken_back(cluster, record, &plan, key));
        let children = records
            .values()
            .filter(|child| child.header.parent.as_ref() == Some(&key.1) && child.header.scope == key.0);
        world.check("a child is one run", family(record, &plan, children.count()));
    }
    counters(cluster).await
}

async fn records(cluster: &Cluster, wishes: &Wishes) -> Result<BTreeMap<Key, RunRecord>> {
    let mut records = BTreeMap::new();
    let owners: std::collections::BTreeSet<_> = wishes.plans.keys().map(|(scope, _)| scope).collect();
    let page = PageRequest { cursor: None, limit: 1_000 };
    for scope in owners {
        for record in cluster.store.runs.runs(scope, &RunFilter::default(), &page).await?.items {
            records.insert((scope.clone(), record.header.run.clone()), record);
        }
    }
    Ok(records)
}

/// What is wrong with the end of a run.
fn problem(
    record: &RunRecord,
    plan: &Plan,
    key: &Key,
    records: &BTreeMap<Key, RunRecord>,
    wishes: &Wishes,
) -> Option<String> {
    let said = |what: &str| Some(format!("{} {what}: {:?} {:?}, {plan:?}", key.1, record.status, record.failure));
    match (record.status, model::ends(plan)) {
        (RunStatus::Completed, Ends::Completed) => {
            let result: Value = record.result.as_ref().and_then(|result| serde_json::from_str(result.get()).ok())?;
            model::refuses(plan, &result).map(|problem| format!("{}: {problem}", key.1))
        }
        (RunStatus::Failed, Ends::Failed) => {
            let failure = record.failure.as_ref()?;
            let planned = failure.reason == FailReason::Error && failure.message.contains(PLANNED);
            if planned { None } else { said("failed otherwise") }
        }
        (RunStatus::Failed, Ends::Panicked) => {
            let panicked = record.failure.as_ref().is_some_and(|failure| failure.reason == FailReason::Panic);
            if panicked { None } else { said("failed otherwise") }
        }
        (RunStatus::Cancelled, _) if stopped(key, records, wishes) => None,
        (RunStatus::Cancelled, _) => said(&format!("was stopped by nobody ({:?})", record.cancel)),
        _ => said("ended otherwise"),
    }
}

/// Whether somebody wanted this run to be stopped, or one that it is below.
fn stopped(key: &Key, records: &BTreeMap<Key, RunRecord>, wishes: &Wishes) -> bool {
    if wishes.stops.contains_key(key) {
        return true;
    }
    let parent = records.get(key).and_then(|record| record.header.parent.clone());
    parent.is_some_and(|parent| stopped(&(key.0.clone(), parent), records, wishes))
}

/// What an agent was told of randomness and time, if it is not what its log says.
fn misled(cluster: &Cluster, record: &RunRecord, key: &Key) -> Option<String> {
    let result: Value = serde_json::from_str(record.result.as_ref()?.get()).ok()?;
    let told: Vec<Value> =
        result.as_array()?.iter().map(|of| of["told"].clone()).filter(|told| !told.is_null()).collect();
    let book = lock(&cluster.world.book);
    let recorded = &book.runs.get(key)?.told;
    (told != *recorded).then(|| format!("{} was told {told:?}, and recorded are {recorded:?}", key.1))
}

fn too_late(cluster: &Cluster, key: &Key, record: &RunRecord, wishes: &Wishes) -> Option<String> {
    let known = wishes.stops.get(key).copied().flatten()?;
    let ended = lock(&cluster.world.book).runs.get(key)?.ended_at?;
    let healed = cluster.world.healed_at();
    let bound = known.max(healed).plus(STOPPING);
    let ignored = record.status != RunStatus::Cancelled && ended > bound;
    ignored.then(|| format!("{} was to be stopped at {known} and ended at {ended} as {:?}", key.1, record.status))
}

/// Work of a run that completed and was never carried to its end.
fn undone(cluster: &Cluster, record: &RunRecord, plan: &Plan, key: &Key) -> Option<String> {
    if record.status != RunStatus::Completed {
        return None;
    }
    let ledger = lock(&cluster.world.ledger);
    let leaves = plan.leaves();
    let missing = leaves.iter().find(|(at, op)| {
        let work = ledger.at(&actor::place(&key.0, &key.1, at));
        match op {
            // Of what was interrupted somebody may have said that it took effect.
            Op::Tool { effect: Effect::Once | Effect::Compensable, .. }
            | Op::Step(Effect::Once | Effect::Compensable) => work.begun == 0,
            Op::Tool { .. } | Op::Step(_) => work.done == 0,
            _ => false,
        }
    })?;
    Some(format!("{}: {missing:?}", key.1))
}

/// A run that failed or was stopped takes back what it can, latest first; one that completed takes nothing back.
fn taken_back(cluster: &Cluster, record: &RunRecord, plan: &Plan, key: &Key) -> Option<String> {
    let ledger = lock(&cluster.world.ledger);
    let undone = ledger.undone_by(key.0.user().as_str(), key.1.as_str());
    let mut due: Vec<String> = Vec::new();
    if record.status != RunStatus::Completed {
        // What was interrupted and nobody knew of is said in the log and left.
        let begun = |at: &str| {
            let work = ledger.at(&actor::place(&key.0, &key.1, at));
            work.begun > 0 && (work.undone > 0 || !work.doubted)
        };
        let leaves = plan.leaves().into_iter().rev();
        let compensable =
            leaves.filter(|(_, op)| matches!(op, Op::Tool { effect: Effect::Compensable, fails: false, .. }));
        due.extend(compensable.map(|(at, _)| at).filter(|at| begun(at)));
    }
    (undone != due).then(|| format!("{} undid {undone:?} of {due:?}", key.1))
}

/// A child that is called is one run, however often its parent begins anew.
fn family(record: &RunRecord, plan: &Plan, children: usize) -> Option<String> {
    let called = plan.leaves().iter().filter(|(_, op)| matches!(op, Op::Child(_))).count();
    let fits = if record.status == RunStatus::Completed { children == called } else { children <= called };
    (!fits).then(|| format!("{} has {children} children for {called} calls", record.header.run))
}

async fn counters(cluster: &Cluster) -> Result<()> {
    let counted = lock(&cluster.world.book).counted.clone();
    let key = StateKey { space: StateSpace::User, name: actor::COUNTER.to_owned() };
    for (scope, expected) in counted {
        let value = cluster.store.state.get(&scope, &key).await?;
        let found: u64 = value.and_then(|value| serde_json::from_str(value.value.get()).ok()).unwrap_or(0);
        let wrong = (found != expected).then(|| format!("{} counted {found} of {expected}", scope.user()));
        cluster.world.check("no increment is lost", wrong);
    }
    Ok(())
}
