//! The standard library as hand-written concurrency sees it when its interleavings are tried: locks, atomics and threads
//! are [`shuttle`]'s, everything else is what it always is.

pub use ::std::*;

/// Locks and atomics, each of whose uses is a place where another thread may go on.
pub mod sync {
    pub use shuttle::sync::*;
}

/// Threads that a scheduler decides about.
pub mod thread {
    pub use shuttle::thread::*;

    /// As [`std::thread::available_parallelism`]: this much is enough to have threads beside each other.
    ///
    /// # Errors
    /// None: the number is fixed.
    pub fn available_parallelism() -> ::std::io::Result<::std::num::NonZero<usize>> {
        Ok(::std::num::NonZero::<usize>::MIN)
    }
}
