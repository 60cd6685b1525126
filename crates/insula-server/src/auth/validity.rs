//! How whoever keeps a connection open learns that the credential behind it is not worth anything any more.

use std::{fmt, future, sync::Arc};

use insula_context::{Clock, Timestamp};
use tokio::sync::watch;

/// The worth of a credential, watched. Dropping it ends the watching.
pub struct Validity {
    expires_at: Option<Timestamp>,
    revoked: Option<watch::Receiver<bool>>,
    clock: Arc<dyn Clock>,
}

impl Validity {
    pub(super) fn new(
        expires_at: Option<Timestamp>,
        revoked: Option<watch::Receiver<bool>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { expires_at, revoked, clock }
    }

    /// Waits until the credential has expired or been revoked, or the authenticator is gone, so that nobody knows. Returns
    /// at once when that has been so before.
    ///
    /// A revocation by this process is seen at once, one by another process within about a second, as long as the store
    /// answers.
    ///
    /// # Cancellation safety
    /// May be dropped and called again, as in a `select!` loop.
    pub async fn over(&mut self) {
        let expired = expiry(self.expires_at, &*self.clock);
        tokio::select! {
            () = expired => {}
            () = revocation(self.revoked.as_mut()) => {}
        }
    }
}

async fn expiry(at: Option<Timestamp>, clock: &dyn Clock) {
    let Some(at) = at else { return future::pending().await };
    loop {
        let left = at.since(clock.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

async fn revocation(revoked: Option<&mut watch::Receiver<bool>>) {
    let Some(revoked) = revoked else { return future::pending().await };
    // An error says that the authenticator is gone.
    let _ = revoked.wait_for(|is_revoked| *is_revoked).await;
}

impl fmt::Debug for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validity").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
