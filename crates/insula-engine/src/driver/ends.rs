//! How a run ends: what is owed, what is undone, the terminal event, and who is told.

use std::sync::atomic::Ordering;

use insula_context::CancelReason;
use insula_infra::RunChange;

use super::Driver;
use crate::{
    Error, Outcome, dispatcher,
    ending::terminal,
    machine::{Command, Ending, Happened},
    spans, undo,
};

impl Driver {
    /// Somebody stopped the run before it was created: all that its log says is that.
    pub(super) fn never_was(&mut self, reason: CancelReason) -> Happened {
        self.run.journal.begin_again();
        self.run.canceller.cancel(reason.clone());
        Happened::Stopped(reason)
    }

    pub(super) async fn end_again(&mut self, stopped: Happened) -> Result<(), Error> {
        self.ended = None;
        if let Happened::Stopped(reason) = stopped {
            self.end(Ending::Cancelled(reason));
        }
        Ok(self.run.journal.commit().await?)
    }

    pub(super) async fn undo(&mut self, ending: &Ending) -> Result<(), Error> {
        self.close();
        if !undo::is_owed(&self.run, ending) {
            return Ok(());
        }
        if !std::mem::replace(&mut self.undoing, true) {
            self.run.journal.add_last(undo::begins(&self.run, ending));
        }
        Ok(undo::all(&self.run).await?)
    }

    /// Takes nothing more from the agent, and says what is owed for calls that did not end.
    pub(super) fn close(&self) {
        let now = self.run.platform.clock.now();
        for open in self.run.journal.close() {
            self.run.journal.add_last(dispatcher::aborted(&open, self.run.stopped_calls(), now));
        }
    }

    /// Writes the end. It is durable when the journal's next commit says so.
    pub(super) fn end(&mut self, ending: Ending) {
        self.close();
        let now = self.run.platform.clock.now();
        let usage = self.run.usage(1);
        let (event, payload, change) = terminal(&self.run, &ending, usage, now);
        self.run.journal.end(vec![event], payload, change);
        self.owed = None;
        self.ended = Some(ending);
    }

    pub(super) fn finish(mut self) -> Result<Outcome, Error> {
        let Some(ending) = self.ended.take() else { return Err(Error::ShutDown) };
        Ok(self.tell(ending))
    }

    /// Counts the end and tells whoever wants to know.
    pub(super) fn tell(&mut self, ending: Ending) -> Outcome {
        let run = &self.run;
        spans::ended(&run.span, &ending);
        let counters = &run.platform.counters;
        let counter = match ending {
            Ending::Completed(_) => &counters.runs_completed,
            Ending::Failed { .. } => &counters.runs_failed,
            Ending::Cancelled(_) => &counters.runs_cancelled,
        };
        counter.fetch_add(1, Ordering::AcqRel);
        let outcome = Outcome {
            run: run.context.run().clone(),
            thread: run.context.thread().clone(),
            agent: run.class.name().to_string(),
            end: ending.into(),
            usage: run.usage(0),
            spent: run.meter.spent(),
            duration: run.age(),
        };
        if let Some(report) = self.report.take() {
            report(&outcome);
        }
        outcome
    }

    /// Ends a run that whoever waited for it has left. What has to be undone before is left to whoever claims the run.
    pub(super) fn end_later(&mut self, ending: Ending) {
        let journal = &self.run.journal;
        if undo::is_owed(&self.run, &ending) {
            self.close();
            let begins = (!self.undoing).then(|| undo::begins(&self.run, &ending));
            journal.end(begins.into_iter().collect(), None, RunChange::HandedOver);
            self.leave_behind();
        } else {
            self.end(ending);
        }
    }

    /// The end of a run that whoever waited for it has left. Of a run that was refused before anything was said of it,
    /// nothing is left behind.
    pub(super) fn abandoned(&self) -> Option<Ending> {
        let journal = &self.run.journal;
        if journal.failure().is_some() || journal.is_untouched() {
            return None;
        }
        let gone = || CancelReason::new("caller", "whoever waited for the run is gone");
        let why = self.run.context.cancellation().reason().unwrap_or_else(gone);
        let commands = self.run.step(Happened::Stopped(why.clone()));
        self.run.canceller.cancel(why);
        commands.iter().find_map(Command::ending).cloned()
    }
}
