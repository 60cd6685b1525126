//! `insula submit`.

use insula_context::{RunId, ThreadId};
use insula_engine::RunRequest;
use serde_json::json;

use super::{Desk, PICKED_UP};
use crate::{
    cli::{SubmitArgs, Terms},
    exit::Stop,
    identity, input, wiring,
};

/// Hands a run to the queue and prints its id. Nothing is worked on here.
pub(super) async fn submit(desk: &Desk<'_>, args: SubmitArgs) -> Result<(), Stop> {
    let request = request(&args)?;
    let scope = identity::caller(&desk.settings)?;
    let factory = wiring::factory(&desk.settings)?;
    let run = factory.enqueue(&scope, request).await?;
    if !desk.output.json {
        desk.output.line(run.to_string())?;
        desk.output.note(PICKED_UP);
        return Ok(());
    }
    match factory.backend().runs.run(&scope, &run).await? {
        Some(record) => desk.output.json(&record),
        // Whoever deleted it meanwhile wanted it gone.
        None => desk.output.json(&json!({"run_id": run})),
    }
}

fn request(args: &SubmitArgs) -> Result<RunRequest, Stop> {
    let request = RunRequest::new(&args.agent, input::read(args.input.as_deref())?);
    let request = match &args.run {
        Some(run) => request.run(RunId::new(run)?),
        None => request,
    };
    let request = match args.delay {
        Some(delay) => request.delay(delay),
        None => request,
    };
    let request = match &args.key {
        Some(key) => request.idempotency_key(key),
        None => request,
    };
    terms(request, &args.terms)
}

fn terms(request: RunRequest, terms: &Terms) -> Result<RunRequest, Stop> {
    let request = request.policy(terms.policy.into()).priority(terms.priority);
    let request = match &terms.thread {
        Some(thread) => request.thread(ThreadId::new(thread)?),
        None => request,
    };
    Ok(match terms.timeout {
        Some(timeout) => request.timeout(timeout),
        None => request,
    })
}
