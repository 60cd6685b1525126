//! What runs when a scope ends, however it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

type Task = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Guards tied to a scope. When the value is dropped (return, error, panic or a cancelled future) each runs once,
/// in reverse order of registration, and one that fails or panics does not stop the rest.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use insula_context::Cleanup;
///
/// let order = Arc::new(Mutex::new(Vec::new()));
/// let mut cleanup = Cleanup::new();
/// for name in ["opened first", "opened last"] {
///     let order = Arc::clone(&order);
///     cleanup.defer(name, move || Ok(order.lock().unwrap().push(name)));
/// }
/// drop(cleanup);
/// assert_eq!(*order.lock().unwrap(), ["opened last", "opened first"]);
/// ```
#[derive(Default)]
pub struct Cleanup {
    tasks: Vec<(&'static str, Task)>,
}

/// A guard that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanupFailure {
    /// The name that the guard was registered under.
    pub name: &'static str,
    /// What it said, or what its panic said.
    pub message: String,
}

impl Cleanup {
    /// Nothing to clean up yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers what to do when the scope ends. An error is reported under `name`.
    pub fn defer(&mut self, name: &'static str, task: impl FnOnce() -> Result<(), String> + Send + 'static) {
        self.tasks.push((name, Box::new(task)));
    }

    /// Runs everything now and says what failed. Nothing is left for the drop.
    pub fn run(&mut self) -> Vec<CleanupFailure> {
        let mut failures = Vec::new();
        while let Some((name, task)) = self.tasks.pop() {
            if let Err(message) = attempt(task) {
                failures.push(CleanupFailure { name, message });
            }
        }
        failures
    }
}

fn attempt(task: Task) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(task)).unwrap_or_else(|panic| Err(panic_message(&*panic)))
}

/// The words of a panic's payload.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // There is nobody left to return a failure to: the log of the process is the last one to tell.
        for failure in self.run() {
            tracing::error!(guard = failure.name, failure.message, "a cleanup guard failed");
        }
    }
}

impl std::fmt::Debug for Cleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tasks.iter().map(|(name, _)| name)).finish()
    }
}
