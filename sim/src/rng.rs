//! Every decision of a simulation is drawn here, so that the seed decides all of them.

use insula_context::{IdSource, SeededIds};

/// The numbers of one seed, in order.
#[derive(Debug)]
pub struct Rng(SeededIds);

impl Rng {
    /// Starts the sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(SeededIds::new(seed))
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&self, end: u64) -> u64 {
        u64::try_from(self.0.random() % u128::from(end.max(1))).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// True in `per_mille` of 1,000 cases.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of some values. There must be one.
    pub fn pick<T: Copy>(&self, values: &[T]) -> T {
        let place = usize::try_from(self.below(values.len() as u64)).unwrap_or(0);
        values[place]
    }
}
