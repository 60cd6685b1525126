//! A map whose entries are forgotten after a while and whose size is bounded, at a constant cost per entry.

use std::{collections::HashMap, time::Duration};

use insula_context::Timestamp;

/// Values that are worth knowing for `lifetime`. There are two halves; when the younger one is full or old it becomes the
/// older one, and what was the older one is dropped as a whole. So there are never more than twice `half` entries, and
/// nobody ever searches for what to drop.
#[derive(Debug)]
pub(super) struct Fading<V> {
    lifetime: Duration,
    half: usize,
    begun: Timestamp,
    young: HashMap<String, (Timestamp, V)>,
    old: HashMap<String, (Timestamp, V)>,
}

impl<V> Fading<V> {
    pub(super) fn new(lifetime: Duration, half: usize) -> Self {
        let begun = Timestamp::from_micros(i64::MIN);
        Self { lifetime, half, begun, young: HashMap::new(), old: HashMap::new() }
    }

    /// What was kept under this key less than a lifetime ago.
    pub(super) fn look(&self, key: &str, now: Timestamp) -> Option<&V> {
        let (at, value) = self.young.get(key).or_else(|| self.old.get(key))?;
        (now.since(*at) < self.lifetime).then_some(value)
    }

    /// Keeps a value that was found at `at`, and is forgotten a lifetime after that.
    pub(super) fn keep(&mut self, key: &str, value: V, at: Timestamp) {
        if self.young.len() >= self.half || at.since(self.begun) >= self.lifetime {
            self.old = std::mem::take(&mut self.young);
            self.begun = at;
        }
        self.young.insert(key.to_owned(), (at, value));
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + millis * 1_000)
    }

    #[test]
    fn knows_for_a_lifetime_and_no_longer() {
        let mut fading = Fading::new(SECOND, 10);
        fading.keep("a", 1, at(0));
        assert_eq!(fading.look("a", at(999)), Some(&1));
        assert_eq!(fading.look("a", at(1_000)), None);
        assert_eq!(fading.look("b", at(0)), None);
    }

    #[test]
    fn what_is_young_survives_the_turn_of_the_halves() {
        let mut fading = Fading::new(SECOND, 10);
        fading.keep("a", 1, at(0));
        fading.keep("b", 2, at(900));
        fading.keep("c", 3, at(1_000));
        assert_eq!(fading.look("b", at(1_100)), Some(&2));
        fading.keep("b", 4, at(1_100));
        assert_eq!(fading.look("b", at(1_100)), Some(&4));
    }

    #[test]
    fn never_grows_beyond_its_bound() {
        let mut fading = Fading::new(SECOND, 10);
        for n in 0..1_000 {
            fading.keep(&n.to_string(), n, at(0));
            assert!(fading.young.len() + fading.old.len() <= 20);
        }
        assert_eq!(fading.look("999", at(0)), Some(&999));
    }

    #[test]
    fn forgets_in_both_halves() {
        let mut fading = Fading::new(SECOND, 1);
        fading.keep("a", 1, at(0));
        fading.keep("b", 2, at(0));
        fading.keep("a", 3, at(0));
        fading.forget("a");
        assert_eq!(fading.look("a", at(0)), None);
    }
}
