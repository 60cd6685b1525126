//! A tool's call from its admission to its answer, with as many attempts as its policy allows.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use insula_agent::{CallSite, Error as AgentError, Tool, ToolCall, ToolFailure};
use insula_context::{Deadline, Timestamp};
use serde_json::Value;

use crate::{
    breaker::{Dependency, Pass, Verdict},
    budget::{self, Charged, Hold},
    core::RunCore,
    dispatcher,
    limits::ToolPermit,
    retry::{self, Tried},
};

/// What came of one attempt: `None` when its time was up, and a caught panic.
pub(crate) type Caught = Result<Result<Value, AgentError>, Box<dyn std::any::Any + Send>>;

/// Everything that a call needs to be made.
pub(crate) struct Admitted {
    pub tool: Arc<dyn Tool>,
    _permit: ToolPermit,
    /// What the breaker said to the first attempt, until that is made.
    pass: Option<Option<Pass>>,
    tries: Tries,
}

/// How often a call was tried.
struct Tries {
    attempts: u32,
    began: Timestamp,
    seed: Option<u64>,
}

impl Tries {
    fn new(run: &RunCore) -> Self {
        Self { attempts: 1, began: run.platform.clock.now(), seed: None }
    }

    /// Waits for the time of the next attempt. `false` when there is to be none. Cancellation safe.
    async fn again(&mut self, run: &RunCore, tool: &dyn Tool, error: &AgentError) -> bool {
        let spec = tool.spec();
        let Some(policy) = spec.retry.as_ref().filter(|_| retry::may_repeat(spec.effect, error)) else { return false };
        let stopped = run.context.cancellation();
        let tried = Tried {
            attempts: self.attempts,
            elapsed: run.platform.clock.now().since(self.began),
            remaining: run.context.deadline().map_or(Duration::MAX, Deadline::remaining),
        };
        // One seed for all delays of the call: each is drawn after those before it.
        let seed = *self.seed.get_or_insert_with(|| retry::seed(run));
        let Some(delay) = retry::after(policy, tried, error, seed) else { return false };
        self.attempts += 1;
        // The waiting call is dropped with its agent; one that is abandoned must not go on either.
        tokio::select! {
            biased;
            _ = stopped.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}

/// Everything that may refuse a call, before anything happens. A refusal that may pass is waited for as the tool's policy
/// says.
pub(crate) async fn admit(run: &Arc<RunCore>, site: &CallSite) -> Result<(Admitted, (Hold, Charged)), ToolFailure> {
    let tool = dispatcher::find(run, &site.name)?;
    let mut tries = Tries::new(run);
    loop {
        let failure = match admit_once(run, &tool, site).await {
            Ok((permit, pass, charge)) => {
                let admitted = Admitted { tool, _permit: permit, pass: Some(pass), tries };
                return Ok((admitted, charge));
            }
            Err(failure) => failure,
        };
        let error = AgentError::Tool { tool: site.name.clone(), failure: failure.clone(), cause: None };
        if !tries.again(run, &*tool, &error).await {
            return Err(failure);
        }
    }
}

type Permits = (ToolPermit, Option<Pass>, (Hold, Charged));

async fn admit_once(run: &Arc<RunCore>, tool: &Arc<dyn Tool>, site: &CallSite) -> Result<Permits, ToolFailure> {
    // What is given back by drop comes first: a call that is refused must not use up the rate.
    let permit = dispatcher::admit(run, &**tool)?;
    let amounts = budget::estimate(tool.spec().cost);
    let hold = run.meter.reserve(&site.name, amounts)?;
    let pass = pass(run, &**tool)?;
    dispatcher::take_rate(run, tool.spec()).await?;
    let charged = budget::reserve_of_user(run, &site.name, site.index, amounts).await?;
    Ok((permit, pass, (hold, charged)))
}

/// Asks the breaker on what a tool depends on, if it has one.
fn pass(run: &RunCore, tool: &dyn Tool) -> Result<Option<Pass>, ToolFailure> {
    let spec = tool.spec();
    if spec.breaker.is_none() && spec.dependency.is_none() {
        return Ok(None);
    }
    let scope = run.context.scope();
    let dependency = match &spec.dependency {
        Some(name) => Dependency { owner: None, name: name.clone() },
        None => {
            let own = run.platform.tools.is_own(scope, &spec.name);
            Dependency { owner: own.then(|| scope.clone()), name: spec.name.clone() }
        }
    };
    run.platform.breakers.pass(dependency, spec.breaker.unwrap_or_default()).map(Some)
}

impl Admitted {
    /// Calls the tool until it answers or there is to be no further attempt. Says how often it was called.
    pub(crate) async fn make(mut self, run: &RunCore, call: &ToolCall, arguments: Value) -> (Option<Caught>, u32) {
        let mut attempt = 1;
        if self.tool.spec().retry.is_none() {
            return (self.attempt(run, call.clone(), arguments).await, attempt);
        }
        let timed_out = self.timed_out();
        loop {
            let answer = self.attempt(run, call.attempted(attempt), arguments.clone()).await;
            let error = match &answer {
                Some(Ok(Err(error))) => error,
                None => &timed_out,
                Some(Ok(Ok(_)) | Err(_)) => return (answer, attempt),
            };
            if !self.tries.again(run, &*self.tool, error).await {
                return (answer, attempt);
            }
            attempt += 1;
        }
    }

    async fn attempt(&mut self, run: &RunCore, call: ToolCall, arguments: Value) -> Option<Caught> {
        // The first attempt was let through with the call's admission.
        let pass = match self.pass.take() {
            Some(pass) => pass,
            None => match pass(run, &*self.tool) {
                Ok(pass) => pass,
                Err(failure) => return Some(Ok(Err(self.error(failure)))),
            },
        };
        let answer = within(self.tool.spec().timeout, self.tool.call(call, arguments)).await;
        if let (Some(pass), Some(verdict)) = (pass, verdict(answer.as_ref())) {
            pass.say(verdict);
        }
        answer
    }

    fn timed_out(&self) -> AgentError {
        self.error(ToolFailure::Timeout { after: self.tool.spec().timeout.unwrap_or_default() })
    }

    fn error(&self, failure: ToolFailure) -> AgentError {
        AgentError::Tool { tool: self.tool.spec().name.clone(), failure, cause: None }
    }
}

/// The answer of a call, or `None` when its time was up.
async fn within(limit: Option<Duration>, call: impl Future<Output = Result<Value, AgentError>>) -> Option<Caught> {
    let call = AssertUnwindSafe(call).catch_unwind();
    match limit {
        Some(limit) => tokio::time::timeout(limit, call).await.ok(),
        None => Some(call.await),
    }
}

/// What an answer says of the dependency. An error that is for good is an answer of something that works; a panic says
/// nothing.
fn verdict(answer: Option<&Caught>) -> Option<Verdict> {
    match answer {
        Some(Ok(Err(error))) if error.is_transient() => Some(Verdict::Fails),
        None => Some(Verdict::Fails),
        Some(Ok(_)) => Some(Verdict::Works),
        Some(Err(_)) => None,
    }
}
