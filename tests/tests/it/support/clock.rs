//! Clocks that move when they are told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use insula_context::{Clock, SystemClock, Timestamp};

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}

/// Stands still until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Goes as the system's does, and is ahead of it or behind.
#[derive(Debug)]
pub(crate) struct ShiftedClock {
    system: SystemClock,
    ahead: AtomicI64,
}

impl ShiftedClock {
    /// The system's time.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { system: SystemClock::new(), ahead: AtomicI64::new(0) })
    }

    /// A clock that is this much ahead.
    pub(crate) fn ahead(by: Duration) -> Arc<Self> {
        let clock = Self::new();
        clock.advance(by);
        clock
    }

    /// A clock that is this much behind.
    pub(crate) fn behind(by: Duration) -> Arc<Self> {
        let clock = Self::new();
        clock.ahead.fetch_sub(micros(by), Ordering::SeqCst);
        clock
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.ahead.fetch_add(micros(by), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.system.now().as_micros() + self.ahead.load(Ordering::SeqCst))
    }
}
