//! How a run gets into the queue, whoever asks for it: a caller or the calendar.

use std::{sync::Arc, time::Duration};

use insula_context::{RunId, ThreadId, UserScope};
use insula_infra::{NewRun, RunHeader, Submitted};
use tracing::Span;

use crate::{Error, RunRequest, events, options::RunOptions, platform::Platform};

/// The queue moves whenever a run begins, and nobody knows when that is: to ask more often than this is wasted.
const COME_BACK: Duration = Duration::from_secs(1);

/// Checks a request and hands it to the queue. Durable when it returns; says which run it is.
pub(crate) async fn submit(platform: &Platform, scope: &UserScope, request: RunRequest) -> Result<RunId, Error> {
    let key = request.idempotency_key.clone();
    platform.ledger.account(scope).take_run(&*platform.backend.quota).await?;
    let new = new_run(platform, scope, request)?;
    let run = new.header.run.clone();
    match platform.backend.queue.submit(new, key.as_deref()).await {
        Ok(Submitted::New) => Ok(run),
        Ok(Submitted::Known(known)) => Ok(known.header.run.clone()),
        Err(error) => Err(refusal(scope, error)),
    }
}

fn new_run(platform: &Platform, scope: &UserScope, request: RunRequest) -> Result<NewRun, Error> {
    let class = platform.instances.check(&request.agent, scope)?;
    platform.instances.registry().check_input(class.name(), &request.input).map_err(Error::Input)?;
    let (account, now) = (platform.ledger.account(scope), platform.clock.now());
    let limits = account.limits();
    let available_at = request.begin.time(now);
    let header = Arc::new(RunHeader {
        scope: scope.clone(),
        thread: request.thread.unwrap_or_else(|| ThreadId::generate(&*platform.ids)),
        run: request.run.unwrap_or_else(|| RunId::generate(&*platform.ids)),
        parent: None,
        agent: Arc::clone(class.name()),
    });
    let trace = platform.traces.context_of(&Span::current()).or(request.trace).map(|trace| trace.to_string());
    let (budget, audit) = (request.budget, request.audit);
    let options = RunOptions { budget, audit, trace, ..RunOptions::default() };
    let (input, payload) = events::show("the input", &request.input)?.stored();
    Ok(NewRun {
        payload,
        available_at,
        // Time that it was told to wait is not its own.
        deadline: request.timeout.map(|timeout| available_at.unwrap_or(now).plus(timeout)),
        policy: Some(request.policy),
        priority: request.priority,
        weight: limits.weight,
        most_queued: Some(limits.queued),
        webhook: request.webhook,
        options: options.stored(),
        ..NewRun::new(header, Arc::clone(class.version()), input, now)
    })
}

/// What the store refuses, in words of the engine.
fn refusal(scope: &UserScope, error: insula_infra::Error) -> Error {
    match error {
        insula_infra::Error::QueueFull { limit } => Error::Limit {
            user: scope.clone(),
            what: "queued runs",
            limit,
            retry_after: Some(COME_BACK),
            advice: "come back when some have begun",
        },
        insula_infra::Error::ThreadBusy { thread, run } => Error::ThreadBusy { thread, run },
        error => Error::Storage(error),
    }
}
