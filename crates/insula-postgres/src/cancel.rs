//! Wishes to stop runs.

use insula_context::{CancelReason, RunId, Timestamp, UserScope};
use insula_infra::{CancelRequest, Error, RunFilter};
use tokio::sync::oneshot;

use crate::{
    error,
    group::{Desk, Hold, Run, Wants},
    owners::Newcomers,
    rows::Place,
    signals::PgSignals,
    store::Store,
    writer::Job,
};

impl Store {
    /// Records the wish to stop a run, also one that is not there yet.
    pub(crate) async fn request_cancel_one(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        let (whose, run) = (scope.clone(), run.clone());
        let make = |sender| Box::new(One { scope: whose, run, reason, answer: None, sender }) as Box<dyn Job>;
        self.writer.ask(scope, None, make).await
    }

    /// Records the wish to stop every open run of a filter, and says which those are: the youngest first.
    pub(crate) async fn request_cancel_many(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        let (whose, filter) = (scope.clone(), filter.clone());
        let make = |sender| Box::new(Many { scope: whose, filter, reason, answer: None, sender }) as Box<dyn Job>;
        self.writer.ask(scope, None, make).await
    }
}

/// The first wish is kept. Whoever holds the run is told; if nobody does, it is ready at once.
pub(crate) fn ask(desk: &mut Desk, number: i64, reason: &CancelReason, now: Timestamp) {
    let Some(run) = desk.change(number) else { return };
    run.cancel.get_or_insert_with(|| reason.clone());
    if matches!(run.place, Some(Place::Asleep | Place::Blocked)) {
        (run.place, run.due_at) = (Some(Place::Ready), Some(now.as_micros()));
    }
}

struct One {
    scope: UserScope,
    run: RunId,
    reason: CancelReason,
    answer: Option<CancelRequest>,
    sender: oneshot::Sender<Result<CancelRequest, Error>>,
}

impl Job for One {
    fn scope(&self) -> &UserScope {
        &self.scope
    }

    fn wants(&self, wants: &mut Wants) {
        let Some(owner) = wants.owner(&self.scope) else { return };
        // Whoever makes the run while this is written locks the line as well, or finds the wish.
        wants.line(owner, Hold::Stop);
        wants.run(owner, &self.run);
    }

    fn run(&mut self, desk: &mut Desk, now: Timestamp) {
        let Some(owner) = desk.owner(&self.scope) else { return };
        let found = desk.run_number(owner, self.run.as_str());
        let Some(run) = found.and_then(|number| desk.run(number)) else {
            desk.write_wish(owner, &self.run, self.reason.clone(), now);
            self.answer = Some(CancelRequest::Ahead);
            return;
        };
        if run.place.is_none() {
            self.answer = Some(CancelRequest::Ended(run.status));
            return;
        }
        let number = run.number;
        ask(desk, number, &self.reason, now);
        self.answer = Some(CancelRequest::Recorded);
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, _: &PgSignals) {
        let Self { answer, sender, .. } = *self;
        let _gone = sender.send(outcome.and_then(|()| answer.ok_or_else(|| error::gone("cancel"))));
    }
}

struct Many {
    scope: UserScope,
    filter: RunFilter,
    reason: CancelReason,
    answer: Option<Vec<RunId>>,
    sender: oneshot::Sender<Result<Vec<RunId>, Error>>,
}

impl Job for Many {
    fn scope(&self) -> &UserScope {
        &self.scope
    }

    fn newcomers(&self) -> Newcomers {
        Newcomers::Leave
    }

    fn wants(&self, wants: &mut Wants) {
        let Some(owner) = wants.owner(&self.scope) else { return };
        wants.open_of(owner);
        if let Some(thread) = &self.filter.thread {
            wants.thread(owner, thread);
        }
    }

    fn run(&mut self, desk: &mut Desk, now: Timestamp) {
        self.answer = Some(Vec::new());
        let Some(owner) = desk.owner(&self.scope) else { return };
        let thread = self.filter.thread.as_ref().map(|thread| desk.thread(owner, thread).map(|thread| thread.number));
        let open = desk.open_of(owner).into_iter();
        let passing: Vec<i64> =
            open.filter(|number| desk.run(*number).is_some_and(|run| passes(&self.filter, thread, run))).collect();
        for number in &passing {
            ask(desk, *number, &self.reason, now);
        }
        let ids = passing.iter().filter_map(|number| RunId::new(&desk.run(*number)?.id).ok());
        self.answer = Some(ids.collect());
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, _: &PgSignals) {
        let Self { answer, sender, .. } = *self;
        let _gone = sender.send(outcome.and_then(|()| answer.ok_or_else(|| error::gone("cancel"))));
    }
}

/// `thread` is the number of the filter's thread, if it names one and there is one.
fn passes(filter: &RunFilter, thread: Option<Option<i64>>, run: &Run) -> bool {
    thread.is_none_or(|thread| thread == Some(run.thread))
        && filter.status.is_none_or(|status| status == run.status)
        && filter.agent.as_ref().is_none_or(|agent| **agent == *run.agent)
        && filter.parent.as_ref().is_none_or(|parent| run.parent.as_deref() == Some(parent.as_str()))
}
