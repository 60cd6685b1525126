//! Carries a plan out, through the session of the run that it is.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use insula_agent::{Agent, Error as AgentError, Session};
use insula_context::UserExecutionContext;
use insula_registry::AgentClass;
use serde_json::{Map, Value, json};

use super::{
    Pipeline, PipelineOutcome,
    step::{Seen, Step, StepError, StepOutcome, StepStatus, Work},
};
use crate::{Error, engine::EngineCore};

type Told = Arc<Mutex<Vec<StepOutcome>>>;

impl Pipeline {
    /// Runs the plan as one run of its own and says what came of each step.
    pub(crate) async fn execute(
        &self,
        engine: &Arc<EngineCore>,
        context: &UserExecutionContext,
        input: Value,
    ) -> Result<PipelineOutcome, Error> {
        let told = Told::default();
        let (plan, tell) = (self.clone(), Arc::clone(&told));
        let class = AgentClass::new(&self.name, "1", move || Telling { plan: plan.clone(), told: Arc::clone(&tell) });
        let run = engine.execute(context, Arc::new(class), None, input).await?;
        let steps = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(PipelineOutcome { run, steps })
    }
}

/// A pipeline that also tells its steps to whoever executes it.
struct Telling {
    plan: Pipeline,
    told: Told,
}

#[async_trait]
impl Agent for Telling {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value, AgentError> {
        carry_out(&self.plan, session, input, &self.told).await
    }
}

#[async_trait]
impl Agent for Pipeline {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value, AgentError> {
        carry_out(self, session, input, &Told::default()).await
    }
}

async fn carry_out(plan: &Pipeline, session: &Session, input: Value, told: &Told) -> Result<Value, AgentError> {
    let mut seen = Seen { input, steps: Vec::new() };
    let stopped = run_steps(plan, session, &mut seen, told).await;
    let mut failed_finally = None;
    for (place, step) in
        places(&plan.finally, plan.steps.iter().fold(0, |sum: u32, step| sum.saturating_add(step.width())))
    {
        let input = default_input(step, &seen);
        let outcome = run_step((place, step), session, &seen, input).await;
        if outcome.error.is_some() && !step.continue_on_error {
            failed_finally.get_or_insert_with(|| outcome.clone());
        }
        tell(session, &mut seen, told, outcome);
    }
    match stopped.or(failed_finally) {
        Some(StepOutcome { name, error: Some(StepError { reason, message }), .. }) => {
            Err(AgentError::Child { agent: name, reason, message })
        }
        _ => Ok(result(plan, &seen)),
    }
}

/// Steps, each with its first place in the order of calls.
fn places(steps: &[Step], first: u32) -> impl Iterator<Item = (u32, &Step)> {
    steps.iter().scan(first, |next, step| {
        let place = *next;
        *next = next.saturating_add(step.width());
        Some((place, step))
    })
}

/// The result of the last step of the plan that has one; without any, what became of the steps.
fn result(plan: &Pipeline, seen: &Seen) -> Value {
    let last = plan.steps.iter().rev().find_map(|step| seen.result(&step.name));
    last.cloned().unwrap_or_else(|| json!({"steps": seen.steps}))
}

/// Starts each step as soon as what it waits for has ended. Says which failure stopped the plan, if one did.
async fn run_steps(plan: &Pipeline, session: &Session, seen: &mut Seen, told: &Told) -> Option<StepOutcome> {
    let mut running: FuturesUnordered<BoxFuture<'_, StepOutcome>> = FuturesUnordered::new();
    let mut waiting: Vec<(u32, &Step)> = places(&plan.steps, 0).collect();
    let mut stopped: Option<StepOutcome> = None;
    loop {
        if stopped.is_none() {
            for step in take_ready(&mut waiting, seen) {
                let (input, snapshot) = (default_input(step.1, seen), seen.clone());
                running.push(async move { run_step(step, session, &snapshot, input).await }.boxed());
            }
        }
        let Some(outcome) = running.next().await else { break };
        let fatal = outcome.error.is_some() && !goes_on(plan, &outcome.name);
        if fatal {
            stopped.get_or_insert_with(|| outcome.clone());
        }
        tell(session, seen, told, outcome);
    }
    if stopped.is_some() {
        name_the_unreachable(&waiting, session, seen, told);
    }
    stopped
}

fn goes_on(plan: &Pipeline, name: &str) -> bool {
    plan.steps.iter().any(|step| step.name == name && step.continue_on_error)
}

fn take_ready<'a>(waiting: &mut Vec<(u32, &'a Step)>, seen: &Seen) -> Vec<(u32, &'a Step)> {
    let ended = |name: &String| seen.step(name).is_some();
    let (ready, rest) = waiting.drain(..).partition(|(_, step)| step.waits_for().iter().all(ended));
    *waiting = rest;
    ready
}

/// Steps that name a failed step, or one that is unreachable itself, say so. The others were simply not reached.
fn name_the_unreachable(waiting: &[(u32, &Step)], session: &Session, seen: &mut Seen, told: &Told) {
    for (_, step) in waiting.iter().filter(|(_, step)| !step.implicit) {
        let failed = |name: &&String| {
            let status = seen.step(name).map(|step| step.status);
            matches!(status, Some(StepStatus::Failed | StepStatus::DependencyFailed))
        };
        let Some(dependency) = step.waits_for().iter().find(failed) else { continue };
        let message = format!("the step \"{dependency}\" failed");
        let error = Some(StepError { reason: "dependency_failed".to_owned(), message });
        let status = StepStatus::DependencyFailed;
        let outcome = StepOutcome { name: step.name.clone(), status, result: None, error };
        tell(session, seen, told, outcome);
    }
}

fn tell(session: &Session, seen: &mut Seen, told: &Told, outcome: StepOutcome) {
    // The event is small: results are in the children's own events. It has a JSON form, so nothing is lost here.
    let _ =
        session.emit("pipeline_step", json!({"step": outcome.name, "status": outcome.status, "error": outcome.error}));
    told.lock().unwrap_or_else(PoisonError::into_inner).push(outcome.clone());
    seen.steps.push(outcome);
}

fn default_input(step: &Step, seen: &Seen) -> Value {
    match &step.input {
        Some(prepare) => prepare(seen),
        None => seen.results(step.waits_for()),
    }
}

async fn run_step((place, step): (u32, &Step), session: &Session, seen: &Seen, input: Value) -> StepOutcome {
    let name = step.name.clone();
    if step.when.as_ref().is_some_and(|when| !when(seen)) {
        return StepOutcome { name, status: StepStatus::Skipped, result: None, error: None };
    }
    let work = work((place, step), session, seen, input);
    let done = match step.timeout {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let message = format!("the step did not finish within {limit:?}");
            Err(StepError { reason: "timeout".to_owned(), message })
        }),
    };
    match done {
        Ok(result) => StepOutcome { name, status: StepStatus::Ok, result: Some(result), error: None },
        Err(error) => StepOutcome { name, status: StepStatus::Failed, result: None, error: Some(error) },
    }
}

/// Boxed, because a step may hold steps.
fn work<'a>(
    (place, step): (u32, &'a Step),
    session: &'a Session,
    seen: &'a Seen,
    input: Value,
) -> Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send + 'a>> {
    match &step.work {
        // The time is also the child's own: a child that is parked outlives every timer here.
        Work::Agent(class) => {
            let called = session.call_agent_at(place, class, input, step.timeout);
            called.map(|result| result.map_err(step_error)).boxed()
        }
        Work::Parallel(steps) => side_by_side((place, steps), session, seen, input).boxed(),
        Work::Repeat { body, most, enough } => async move {
            let mut last = input;
            let rounds = (0..*most).scan(place, |next, _| {
                let place = *next;
                *next = next.saturating_add(body.width());
                Some(place)
            });
            for place in rounds {
                last = finished(run_step((place, body), session, seen, last).await)?;
                if enough(&last) {
                    break;
                }
            }
            Ok(last)
        }
        .boxed(),
    }
}

async fn side_by_side<'a>(
    (place, steps): (u32, &'a [Step]),
    session: &'a Session,
    seen: &'a Seen,
    input: Value,
) -> Result<Value, StepError> {
    let run = |(place, step): (u32, &'a Step)| {
        let own = step.input.as_ref().map_or_else(|| input.clone(), |prepare| prepare(seen));
        async move { (step, run_step((place, step), session, seen, own).await) }
    };
    let mut results = Map::new();
    for (step, outcome) in join_all(places(steps, place).map(run)).await {
        let name = outcome.name.clone();
        match finished(outcome) {
            Ok(result) => results.insert(name, result),
            Err(error) if step.continue_on_error => results.insert(name, json!({"error": error})),
            Err(error) => return Err(StepError { message: format!("{name}: {}", error.message), ..error }),
        };
    }
    Ok(results.into())
}

fn finished(outcome: StepOutcome) -> Result<Value, StepError> {
    match outcome.error {
        Some(error) => Err(error),
        None => Ok(outcome.result.unwrap_or_default()),
    }
}

fn step_error(error: AgentError) -> StepError {
    match error {
        AgentError::Child { reason, message, .. } => StepError { reason, message },
        error => StepError { reason: "error".to_owned(), message: error.to_string() },
    }
}
