//! Answers to questions of runs.

use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{Answer, AnswerRequest, Error};
use tokio::sync::oneshot;

use crate::{
    error,
    group::{Desk, Wants},
    owners::Newcomers,
    rows::Place,
    signals::PgSignals,
    store::Store,
    writer::Job,
};

impl Store {
    /// Records an answer, and wakes the run if it is parked.
    pub(crate) async fn answer_one(
        &self,
        scope: &UserScope,
        run: &RunId,
        answer: Answer,
    ) -> Result<Option<AnswerRequest>, Error> {
        let (whose, run) = (scope.clone(), run.clone());
        let make = |sender| Box::new(Answering { scope: whose, run, answer, outcome: None, sender }) as Box<dyn Job>;
        self.writer.ask(scope, None, make).await
    }
}

struct Answering {
    scope: UserScope,
    run: RunId,
    answer: Answer,
    outcome: Option<Option<AnswerRequest>>,
    sender: oneshot::Sender<Result<Option<AnswerRequest>, Error>>,
}

impl Job for Answering {
    fn scope(&self) -> &UserScope {
        &self.scope
    }

    fn newcomers(&self) -> Newcomers {
        Newcomers::Leave
    }

    fn wants(&self, wants: &mut Wants) {
        let Some(owner) = wants.owner(&self.scope) else { return };
        wants.run(owner, &self.run);
        wants.questions(owner, &self.run);
    }

    fn run(&mut self, desk: &mut Desk, now: Timestamp) {
        self.outcome = Some(self.record(desk, now));
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, _: &PgSignals) {
        let Self { outcome: found, sender, .. } = *self;
        let _gone = sender.send(outcome.and_then(|()| found.ok_or_else(|| error::gone("answer"))));
    }
}

impl Answering {
    fn record(&self, desk: &mut Desk, now: Timestamp) -> Option<AnswerRequest> {
        let owner = desk.owner(&self.scope)?;
        let number = desk.run_number(owner, self.run.as_str())?;
        desk.run(number)?.place?;
        let question = desk.question(number, i64::from(self.answer.index))?;
        if question.is_answered {
            return Some(AnswerRequest::Answered);
        }
        if question.expires_at.is_some_and(|at| at <= now.as_micros()) {
            return Some(AnswerRequest::Expired);
        }
        desk.answer(owner, number, &self.answer);
        let run = desk.change(number)?;
        run.answered += 1;
        if run.place == Some(Place::Asleep) {
            (run.place, run.due_at) = (Some(Place::Ready), Some(now.as_micros()));
        }
        Some(AnswerRequest::Recorded)
    }
}
