//! How a run leaves this process without having ended: parked, handed over, or left alone by whoever waited for it.

use std::sync::{Arc, atomic::Ordering};

use insula_agent::Error as AgentError;
use insula_context::CancelReason;
use insula_infra::{RunChange, WaitFor};
use tokio::runtime::Handle;

use super::{Driver, Report, turn::Turn};
use crate::{
    afterwards::StopWhenDropped,
    children,
    core::RunCore,
    giving_back,
    machine::{Happened, Phase},
    retry, spans,
    waits::{Departure, Parked, Waiting},
};

/// How far a run that leaves has come, as far as whoever drives it is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The store knows nothing of it yet.
    Decided,
    /// The write that gives it back is on its way.
    Written,
    /// Whoever waited has been told.
    Told,
}

impl Driver {
    /// Whether another process could go on with the run: it is found by the name of its class.
    pub(super) fn may_leave(&self) -> bool {
        let registered = self.run.platform.instances.registry().class(self.run.class.name());
        registered.is_some_and(|class| Arc::ptr_eq(class, &self.run.class))
    }

    /// Closes the run here, if it is still so that it may go. A wish to stop it that comes from now on is the store's.
    pub(super) fn depart(&mut self, departure: Departure) -> Happened {
        let run = &self.run;
        let happened = match departure {
            Departure::HandedOver => {
                run.journal.close();
                Happened::HandedOver
            }
            Departure::Quiet => match run.journal.close_if(|| run.waits.quiet()) {
                Some(parked) => {
                    self.parked = parked;
                    Happened::Quiet
                }
                // Something came in the meantime.
                None => return Happened::Woken,
            },
        };
        self.left_with(happened)
    }

    /// Takes the run out of the live ones: a wish to stop it is the store's from now on, and one that came before counts.
    pub(super) fn left_with(&mut self, happened: Happened) -> Happened {
        self.leave_the_live();
        self.run.context.cancellation().reason().map_or(happened, Happened::Stopped)
    }

    /// Gives the run back to the store, until what it waits for comes.
    pub(super) async fn park(&mut self) {
        spans::status(&self.run.span, "waiting");
        self.stop_agent().await;
        let said = children::say_waiting(&self.run, &self.parked);
        let reason = self.parked.values().map(|waiting| waiting.reason).min_by_key(urgency).unwrap_or(WaitFor::Timer);
        let until = self.parked.values().filter_map(|waiting| waiting.until).chain(self.due).min();
        let children = self.parked.values().filter_map(|waiting| Some(waiting.child.as_ref()?.run.clone())).collect();
        let said = said.into_iter().map(|(event, _)| event).collect();
        self.run.journal.end(said, None, RunChange::Waiting { reason, until, children });
        self.leaving_by = Way::Written;
    }

    /// Gives the run back to the store for whoever has room.
    pub(super) async fn hand_over(&mut self) {
        spans::status(&self.run.span, "handed_over");
        self.stop_agent().await;
        self.run.journal.end(Vec::new(), None, RunChange::HandedOver);
        self.leaving_by = Way::Written;
    }

    /// Parks a run that failed until it begins again from the top, if its class says that it does.
    pub(super) fn again(&mut self, error: &AgentError) -> Option<Happened> {
        let delay = retry::of_run(&self.run, error, self.run.age()).filter(|_| self.may_leave())?;
        let until = self.run.platform.clock.now().plus(delay);
        self.run.journal.add(retry::waiting(&self.run, error, until), None, |_| {});
        self.run.journal.close();
        self.parked = Parked::from([(0, Waiting { reason: WaitFor::Timer, until: Some(until), child: None })]);
        Some(self.left_with(Happened::Quiet))
    }

    /// The run is the store's now, and may be claimed again by anybody, here as well.
    pub(super) fn leave_behind(&mut self) -> Option<Report> {
        let background = &self.run.platform.background;
        background.claiming.store(true, Ordering::Release);
        background.wake.notify_one();
        self.report.take()
    }

    /// Whether this child has not ended, and its parent goes on elsewhere: that one will want to know what came of it.
    /// Whoever waited went while the run was leaving: it is given back all the same, and stopped unless it came from the
    /// queue or goes on with its parent.
    pub(super) fn left_alone(&mut self) {
        if self.leaving_by == Way::Told {
            return;
        }
        if self.leaving_by == Way::Decided {
            self.run.journal.end(Vec::new(), None, RunChange::HandedOver);
        }
        giving_back::unless_written(&self.run);
        let is_from_the_queue = self.parent.is_none() && self.turn != Turn::Line;
        // Nor when the write was not answered: whoever drove it was told that, and did not go.
        let unanswered = self.run.journal.failure().is_some();
        let goes_on = unanswered || is_from_the_queue || self.parent.as_deref().is_some_and(goes_on_elsewhere);
        if !goes_on && Handle::try_current().is_ok() {
            let gone = CancelReason::new("caller", "whoever waited for the run is gone");
            let run = &self.run;
            let stop = StopWhenDropped::new(&run.platform, run.context.scope(), run.context.run(), gone);
            // A parent that another process has by now may wait for it there.
            match &self.parent {
                Some(parent) => drop(stop.while_held(parent.journal.lease())),
                None => drop(stop),
            }
        }
        self.leave_behind();
    }

    pub(super) fn goes_on_with_its_parent(&self) -> bool {
        let over = matches!(self.run.phase(), Phase::Ended(_) | Phase::Left) && self.owed.is_none();
        !over && self.run.journal.failure().is_none() && self.parent.as_deref().is_some_and(goes_on_elsewhere)
    }

    /// Gives the run back for whoever goes on with its parent.
    pub(super) fn leave_with_its_parent(&mut self) {
        self.owed = None;
        self.run.step(Happened::HandedOver);
        self.run.journal.close();
        if !self.run.journal.is_untouched() {
            self.run.journal.end(Vec::new(), None, RunChange::HandedOver);
            giving_back::unless_written(&self.run);
        }
    }

    pub(super) fn leave_the_live(&mut self) {
        if std::mem::take(&mut self.live) {
            self.run.platform.live.leave(self.run.context.scope(), self.run.context.run());
        }
    }
}

/// What a parked run is said to wait for, when it waits for several things: what somebody could do something about.
const fn urgency(wait: &WaitFor) -> u8 {
    match wait {
        WaitFor::Reconcile => 0,
        WaitFor::Human => 1,
        WaitFor::Child => 2,
        _ => 3,
    }
}

/// Whether a run has left this process, or lost the right to write here.
fn goes_on_elsewhere(run: &RunCore) -> bool {
    run.phase() == Phase::Left || run.journal.failure().is_some()
}
