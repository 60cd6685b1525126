//! What this process holds and does not work on any more. A worker's leases are renewed together, so a run that it has lost
//! track of would be held for as long as the process lives: it has to be given back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use insula_context::{RunId, UserScope};
use insula_infra::{Append, Error, Lease, RunChange, RunQueue};
use tokio::runtime::Handle;

use crate::{core::RunCore, platform::Platform};

/// How soon a store that does not answer is asked again.
pub(crate) const AGAIN: Duration = Duration::from_millis(250);
/// How often it is looked whether a run has left.
const LOOK: Duration = Duration::from_millis(10);

/// Gives a run back as soon as the store answers, unless somebody else has it or it has ended. It ends with the factory.
pub(crate) async fn give_back(platform: Weak<Platform>, lease: Lease) {
    let mut after = 0;
    while let Some(platform) = platform.upgrade() {
        let append = Append { change: Some(RunChange::HandedOver), ..Append::new(lease.clone(), after) };
        let commit = platform.backend.queue.append(append);
        let wake = Arc::clone(&platform.background.wake);
        // Who waits for the store keeps nothing.
        drop(platform);
        match commit.await {
            // What was written last may have been written, or not.
            Err(Error::OutOfOrder { found, .. }) => after = found,
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
            _ => return wake.notify_one(),
        }
    }
}

/// The run goes, and what it has said may not be written: gives it back then. Needs a tokio runtime, or it is left to the
/// end of its lease.
pub(crate) fn unless_written(run: &Arc<RunCore>) {
    let (Ok(runtime), run) = (Handle::try_current(), Arc::clone(run)) else { return };
    runtime.spawn(async move {
        let written = run.journal.commit().await;
        let (platform, lease) = (Arc::downgrade(&run.platform), run.journal.lease().clone());
        drop(run);
        match written {
            // Another process has created the run: it was never held here.
            Ok(_) | Err(Error::RunExists { .. }) => {}
            Err(_) => give_back(platform, lease).await,
        }
    });
}

/// Whether the store still takes what the holder of a lease writes. It is given something that it cannot take.
pub(crate) async fn holds(queue: &dyn RunQueue, lease: &Lease) -> bool {
    loop {
        match queue.append(Append::new(lease.clone(), u64::MAX)).await {
            Err(Error::StaleLease { .. }) => return false,
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
            _ => return true,
        }
    }
}

/// Waits until a run that was claimed again has left this process: its lease was over.
pub(crate) async fn oust(platform: &Platform, scope: &UserScope, run: &RunId) {
    while platform.live.oust(scope, run) {
        tokio::time::sleep(LOOK).await;
    }
}
