//! In which order things came, for lists that show the newest first.

use std::collections::VecDeque;

use crate::{Error, Page, PageRequest};

/// Keys in order of arrival, each with the number that it drew. Things go in another order than they came, so what has
/// gone is swept when it outweighs what is there.
#[derive(Debug)]
pub(super) struct Arrivals<K> {
    came: VecDeque<(u64, K)>,
    drawn: u64,
}

impl<K> Default for Arrivals<K> {
    fn default() -> Self {
        Self { came: VecDeque::new(), drawn: 0 }
    }
}

impl<K> Arrivals<K> {
    /// Puts a key at the end and says its number.
    pub(super) fn push(&mut self, key: K) -> u64 {
        self.drawn += 1;
        self.came.push_back((self.drawn, key));
        self.drawn
    }

    /// Drops the keys of what has gone, now and then: amortised, a constant per arrival.
    pub(super) fn sweep(&mut self, alive: usize, is_alive: impl Fn(u64, &K) -> bool) {
        if self.came.len() > 2 * alive + 16 {
            self.came.retain(|(number, key)| is_alive(*number, key));
        }
    }

    /// One page, newest first, of what `read` makes of the keys.
    pub(super) fn page<T>(&self, request: &PageRequest, read: impl Fn(u64, &K) -> Option<T>) -> Result<Page<T>, Error> {
        let end = self.before(request.cursor.as_deref())?;
        let limit = request.limit.max(1);
        let mut found = self.came.range(..end).rev().filter_map(|(number, key)| Some((*number, read(*number, key)?)));
        let mut last = 0;
        let items = found.by_ref().take(limit).map(|(number, item)| {
            last = number;
            item
        });
        let items = items.collect();
        let next = found.next().map(|_| last.to_string());
        Ok(Page { items, next })
    }

    /// How many keys came before the one that the last page ended with.
    fn before(&self, cursor: Option<&str>) -> Result<usize, Error> {
        let Some(cursor) = cursor else { return Ok(self.came.len()) };
        let number: u64 = cursor.parse().map_err(|_| Error::InvalidCursor { cursor: cursor.to_owned() })?;
        Ok(self.came.partition_point(|(came, _)| *came < number))
    }
}
