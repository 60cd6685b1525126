//! How a run gets its turn among its user's.

use std::time::Duration;

use insula_infra::EventType;

use super::Driver;
use crate::{Error, core::RunCore, events, limits::RunPermit, machine::Happened};

/// A run that waits longer than this for its turn says so.
const QUEUE_NOTICE: Duration = Duration::from_secs(1);

/// How a run gets its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// In a line that may be full.
    Line,
    /// In a line that takes everybody: a run that was taken from the queue has been accepted long ago.
    Accepted,
    /// Under its parent's permit.
    Parents,
}

impl Driver {
    /// Waits for this run's turn, in the order in which its user's runs came.
    pub(super) async fn turn(&mut self) -> Result<Happened, Error> {
        if self.turn != Turn::Parents {
            self.permit = match self.run.account.try_run(&self.run.class) {
                Some(permit) => Some(permit),
                None => Some(stand_in_line(&self.run, self.turn).await?),
            };
        }
        Ok(Happened::Admitted)
    }
}

async fn stand_in_line(run: &RunCore, turn: Turn) -> Result<RunPermit, Error> {
    let _place = if turn == Turn::Accepted { run.account.wait_anyway() } else { run.account.wait()? };
    let permit = run.account.run(&run.class);
    tokio::pin!(permit);
    if let Ok(permit) = tokio::time::timeout(QUEUE_NOTICE, &mut permit).await {
        return permit;
    }
    run.journal.stands_in_line();
    run.journal.say(EventType::AgentQueued, &events::Queued { position: run.account.waiting() });
    run.journal.flush();
    permit.await
}
