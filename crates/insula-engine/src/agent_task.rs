//! The agent's own task: polled on a lane, stopped from outside.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use futures::{FutureExt, future::BoxFuture};
use insula_agent::{Error as AgentError, Session};
use insula_factory::AgentInstance;
use serde_json::Value;

use crate::{core::RunCore, lanes::LaneTask};

/// How the agent's task ended.
pub(crate) enum AgentEnd {
    Returned(Result<Value, AgentError>),
    Refused(insula_factory::Error),
    Panicked(String),
}

/// An agent on its way out. Whoever waits for it may go; then another may wait.
pub(crate) type Leaving = BoxFuture<'static, ()>;

/// Drops an agent's future as soon as it is not being polled.
pub(crate) fn leave(agent: LaneTask<AgentEnd>) -> Leaving {
    agent.stop().map(|_| ()).boxed()
}

/// Waits until an agent is gone, but not longer than the grace time.
pub(crate) async fn gone(run: &RunCore, leaving: &mut Leaving) {
    if tokio::time::timeout(run.platform.limits().grace, leaving).await.is_err() {
        run.abandoned();
        run.platform.counters.agents_abandoned.fetch_add(1, Ordering::AcqRel);
        tracing::warn!(run = %run.context.run(), agent = %run.class.name(),
            "an agent does not let itself be stopped and was abandoned");
    }
}

/// The agent's task: it catches panics, and hands over what was said whenever the agent waits.
pub(crate) async fn poll_agent(run: Arc<RunCore>, instance: AgentInstance, session: Session, input: Value) -> AgentEnd {
    let mut agent = Box::pin(AssertUnwindSafe(instance.run(session, input)).catch_unwind());
    let end = poll_fn(|cx| {
        // A run whose agent has just begun to wait may be about to do something beside it.
        let _polling = run.work();
        let polled = agent.poll_unpin(cx);
        if polled.is_pending() {
            run.journal.flush();
        }
        match polled {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    drop(agent);
    match end {
        Ok(Ok(returned)) => AgentEnd::Returned(returned),
        Ok(Err(refused)) => AgentEnd::Refused(refused),
        Err(panic) => AgentEnd::Panicked(insula_context::cleanup::panic_message(&*panic)),
    }
}
