//! Where the store's work runs: on threads of its own, so that a caller who goes away ends no transaction in its middle, and
//! so that the store needs no runtime of its caller's.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use insula_infra::Error;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

use crate::error;

/// Threads of a store. They wait for the network almost all of the time.
const THREADS: usize = 2;

/// How long what is under way may take when the store is dropped.
const FAREWELL: Duration = Duration::from_secs(10);

/// A runtime that ends with the last clone of its holder.
pub(crate) struct Home {
    runtime: Option<Runtime>,
    handle: Handle,
    /// What is waited for at the end.
    ends: Mutex<Vec<JoinHandle<()>>>,
}

impl Home {
    pub(crate) fn new() -> Result<Arc<Self>, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("insula-postgres")
            .enable_all()
            .build()
            .map_err(|error| Error::Unavailable {
                operation: "start threads",
                component: "the machine",
                source: Some(Arc::new(error)),
            })?;
        let handle = runtime.handle().clone();
        Ok(Arc::new(Self { runtime: Some(runtime), handle, ends: Mutex::default() }))
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Makes something that belongs to the runtime.
    pub(crate) fn enter<T>(&self, make: impl FnOnce() -> T) -> T {
        let _inside = self.handle.enter();
        make()
    }

    /// Waits for these at the end, before the runtime goes.
    pub(crate) fn ends_with(&self, ends: Vec<JoinHandle<()>>) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    }

    /// Does the work to its end, whether or not anybody waits for it.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.handle.spawn(work).await.unwrap_or_else(|_| Err(error::gone(operation)))
    }
}

impl Drop for Home {
    /// A runtime must not be waited for inside another, so a thread of its own does.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let farewell = std::thread::Builder::new().name("insula-postgres-end".to_owned());
        let ends = std::mem::take(self.ends.get_mut().unwrap_or_else(PoisonError::into_inner));
        let end = move || {
            let ended =
                runtime.block_on(async { tokio::time::timeout(FAREWELL, futures::future::join_all(ends)).await });
            if ended.is_err() {
                tracing::warn!("what was queued for Postgres could not be written before the end");
            }
            runtime.shutdown_background();
        };
        if let Err(error) = farewell.spawn(end) {
            tracing::warn!(%error, "the Postgres store could not be shut down in order");
        }
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}
