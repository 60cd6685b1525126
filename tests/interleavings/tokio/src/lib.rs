//! Tokio as hand-written concurrency sees it when its interleavings are tried: there is no runtime, and time passes
//! when the scheduler says so. What wakes tasks (`Notify`, channels, its mutex) is tokio's own: it never blocks a thread, and is
//! taken to be right.

pub use tokio::*;

/// Time that passes at any moment.
pub mod time {
    use std::{
        future::{Future, poll_fn},
        pin::pin,
        task::Poll,
        time::Duration,
    };

    use shuttle::rand::{Rng, thread_rng};

    /// The time was up first.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Elapsed;

    /// Waits for a future, or until the time is up: that may be at every look at a future that is not ready.
    ///
    /// # Errors
    /// [`Elapsed`] when the time was up first.
    pub async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if thread_rng().gen_bool(0.5) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }
}

/// What there is of a runtime without one.
pub mod runtime {
    /// Stands where a handle is asked for, and is on nothing.
    #[derive(Debug, Clone, Copy)]
    pub struct Handle;

    /// Stands where a runtime was entered.
    #[derive(Debug)]
    pub struct Entered;

    impl Handle {
        /// The one that there is.
        #[must_use]
        pub const fn current() -> Self {
            Self
        }

        /// Enters nothing.
        #[must_use]
        pub const fn enter(&self) -> Entered {
            Entered
        }
    }
}
