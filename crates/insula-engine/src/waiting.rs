//! What waits for the world: questions and times. The waiting is in the log and in the store; what is here is only the
//! part of it that a live agent sees.

use std::{sync::Arc, time::Duration};

use insula_agent::{CallSite, Error, Question, Result};
use insula_context::Timestamp;
use insula_infra::{EventType, NewEvent, NewQuestion, PageRequest, WaitFor};
use serde_json::Value;

use crate::{
    core::RunCore,
    events::{self, CallKind, Ended, Resumed, Waiting, Why},
    host,
    machine::Phase,
    replay::Past,
    waits,
};

/// How often the store is asked whether a question is over, once it should be.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How a call waits.
enum Wait {
    /// It has waited before, with this result.
    Recorded(Value),
    /// It was given up before, and will be again.
    Never,
    Begin,
    /// It has waited before, in vain.
    Expired,
    /// It was interrupted.
    Again {
        until: Option<Timestamp>,
    },
}

fn past(run: &RunCore, site: &CallSite, kind: CallKind) -> Result<Wait> {
    run.going_on()?;
    Ok(match run.history.take(site, kind)? {
        Some(Past::Gave(result)) => Wait::Recorded(result),
        Some(Past::GivenUp) => Wait::Never,
        Some(Past::Waited(Why::Expired)) => Wait::Expired,
        Some(Past::Waiting { until }) => Wait::Again { until },
        _ => Wait::Begin,
    })
}

/// Asks a human.
pub(crate) async fn for_answer(run: &Arc<RunCore>, site: &CallSite, question: Question) -> Result<Value> {
    let begin = || question.expires.map(|expires| run.platform.clock.now().plus(expires));
    let (until, asked) = match past(run, site, CallKind::Answer)? {
        Wait::Recorded(answer) => return Ok(answer),
        Wait::Never => std::future::pending().await,
        Wait::Expired => return Err(expired()),
        Wait::Begin => (begin(), false),
        Wait::Again { until } => (until, true),
    };
    let (answer, why) = match ask(run, site.index, WaitFor::Human, &question, until, asked).await {
        Some(answer) => (answer, Why::Answered),
        None => (late(run, site.index, &question)?, Why::Expired),
    };
    let completed = host::completed(run, site, CallKind::Answer, &answer, None)?;
    let resumed = (resumed(run, site.index, why), None);
    run.journal.add_all(vec![resumed, completed], Some(site.index), |_| {});
    run.step_recorded();
    Ok(answer)
}

/// The answer that counts when none came.
fn late(run: &RunCore, index: u32, question: &Question) -> Result<Value> {
    question.default.clone().ok_or_else(|| {
        run.journal.add_all(vec![(resumed(run, index, Why::Expired), None)], Some(index), |_| {});
        expired()
    })
}

fn expired() -> Error {
    Error::failed("the question expired without an answer")
}

/// Opens a question, unless it is open already, and waits for the answer; `None` when it expired.
pub(crate) async fn ask(
    run: &Arc<RunCore>,
    index: u32,
    kind: WaitFor,
    question: &Question,
    until: Option<Timestamp>,
    asked: bool,
) -> Option<Value> {
    // Before the question is in the log: nobody answers before that.
    let answer = run.platform.live.ask(run.context.scope(), run.context.run(), index);
    if !asked {
        open(run, index, kind, question, until);
    }
    if let Some(answer) = run.history.answer(index) {
        return Some(answer);
    }
    let pause = Pause { run, index, kind: Some(kind) };
    let answer = match until {
        // What is over already is no reason to be parked: the run would be claimed again at once.
        Some(until) if until.since(run.now()).is_zero() => overdue(run, index).await,
        until => {
            let _wait = run.wait(index, waits::Waiting { reason: kind, until, child: None });
            match until {
                None => given(answer).await,
                Some(until) => match tokio::time::timeout(until.since(run.now()), given(answer)).await {
                    Ok(answer) => answer,
                    Err(_) => overdue(run, index).await,
                },
            }
        }
    };
    pause.over();
    answer
}

/// An answer that is handed over here. Nobody can any more once the run leaves this process.
async fn given(answer: tokio::sync::oneshot::Receiver<Value>) -> Option<Value> {
    match answer.await {
        Ok(answer) => Some(answer),
        Err(_) => std::future::pending().await,
    }
}

fn open(run: &RunCore, index: u32, kind: WaitFor, question: &Question, until: Option<Timestamp>) {
    let now = run.platform.clock.now();
    let said =
        Waiting { waiting_for: kind.as_str(), index, question: Some(question), until, run_id: None, agent: None };
    let event = events::event(EventType::AgentWaiting, now, &said);
    // A question is made of text and JSON values, which always have a JSON form.
    let Ok(question) = events::raw("the question", question) else { return };
    run.journal.ask(event, NewQuestion { index, kind, question, asked_at: now, expires_at: until });
}

/// The store decides whether a question has expired: until it says so, an answer may still come.
async fn overdue(run: &Arc<RunCore>, index: u32) -> Option<Value> {
    // The wait is over: a run that is parked now would be claimed again at once.
    let _working = run.work();
    let (scope, id, backend) = (run.context.scope(), run.context.run(), &run.platform.backend);
    if run.durable().await.is_err() {
        std::future::pending::<()>().await;
    }
    loop {
        let open = backend.inbox.questions(scope, Some(id), &PageRequest::default()).await;
        if open.is_ok_and(|open| open.items.iter().all(|open| open.question.index != index)) {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut news = backend.queue.news(&run.platform.worker).await;
    while news.is_err() {
        tokio::time::sleep(LOOK_AGAIN).await;
        news = backend.queue.news(&run.platform.worker).await;
    }
    let mine = news.ok()?.into_iter().find(|news| news.header.run == *id && news.header.scope == *scope)?;
    let answer = mine.answers.into_iter().find(|answer| answer.index == index)?;
    serde_json::from_str(answer.answer.get()).ok()
}

/// Waits for a time.
pub(crate) async fn until(run: &Arc<RunCore>, site: &CallSite, until: Timestamp) -> Result<()> {
    let (until, said) = match past(run, site, CallKind::Timer)? {
        Wait::Recorded(_) => return Ok(()),
        Wait::Never => std::future::pending().await,
        Wait::Begin | Wait::Expired => (until, false),
        Wait::Again { until: since } => (since.unwrap_or(until), true),
    };
    if !said {
        let said = Waiting {
            waiting_for: WaitFor::Timer.as_str(),
            index: site.index,
            question: None,
            until: Some(until),
            run_id: None,
            agent: None,
        };
        run.journal.say(EventType::AgentWaiting, &said);
    }
    {
        let pause = Pause { run, index: site.index, kind: Some(WaitFor::Timer) };
        let _wait = run.wait(site.index, waits::Waiting { reason: WaitFor::Timer, until: Some(until), child: None });
        tokio::time::sleep(until.since(run.now())).await;
        pause.over();
    }
    let completed = host::completed(run, site, CallKind::Timer, &Value::Bool(true), None)?;
    run.journal.add_all(vec![(resumed(run, site.index, Why::Timer), None), completed], None, |_| {});
    run.step_recorded();
    Ok(())
}

/// The event that says why a run goes on.
pub(crate) fn resumed(run: &RunCore, index: u32, why: Why) -> NewEvent {
    let mut event = events::event(EventType::AgentResumed, run.platform.clock.now(), &Resumed { why });
    event.journal = events::raw("the wait", &Ended { index }).ok();
    event
}

/// Says that the run goes on when the agent gives up waiting. After the run's end, and once it has left, it says nothing.
struct Pause<'a> {
    run: &'a RunCore,
    index: u32,
    /// What is waited for; nothing any more when it came.
    kind: Option<WaitFor>,
}

impl Pause<'_> {
    fn over(mut self) {
        self.kind = None;
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let Some(kind) = self.kind.filter(|_| !matches!(self.run.phase(), Phase::Ended(_) | Phase::Left)) else {
            return;
        };
        let closes = (kind != WaitFor::Timer).then_some(self.index);
        // Of an interrupted call, its own guard says that it was given up.
        let said = (kind != WaitFor::Reconcile).then(|| (resumed(self.run, self.index, Why::GivenUp), None));
        self.run.journal.add_all(said.into_iter().collect(), closes, |_| {});
    }
}
