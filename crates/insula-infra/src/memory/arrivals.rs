//! In which order things came, for lists that show the newest first.

use std::collections::VecDeque;

use crate::{Error, Page, PageRequest};

/// Keys in order of arrival, each with the number that it drew.
#[derive(Debug)]
pub(super) struct Arrivals<K> {
    /// Things go in another order than they came: what has gone leaves an empty place, until those outweigh the rest.
    came: VecDeque<(u64, Option<K>)>,
    gone: usize,
    drawn: u64,
}

impl<K> Default for Arrivals<K> {
    fn default() -> Self {
        Self { came: VecDeque::new(), gone: 0, drawn: 0 }
    }
}

impl<K> Arrivals<K> {
    /// Puts a key at the end and says its number.
    pub(super) fn push(&mut self, key: K) -> u64 {
        self.drawn += 1;
        self.came.push_back((self.drawn, Some(key)));
        self.drawn
    }

    /// Drops the key with this number; amortised, a constant when things go about as they came.
    pub(super) fn remove(&mut self, number: u64) {
        let place = match self.came.front() {
            Some((first, _)) if *first == number => 0,
            _ => self.came.partition_point(|(came, _)| *came < number),
        };
        if let Some((_, key)) = self.came.get_mut(place) {
            self.gone += usize::from(key.take().is_some());
        }
        while self.came.pop_front_if(|(_, key)| key.is_none()).is_some() {
            self.gone -= 1;
        }
        if self.gone > self.came.len() / 2 + 16 {
            self.came.retain(|(_, key)| key.is_some());
            self.gone = 0;
        }
    }

    /// One page, newest first, of what `read` makes of the keys.
    pub(super) fn page<T>(&self, request: &PageRequest, read: impl Fn(&K) -> Option<T>) -> Result<Page<T>, Error> {
        let end = self.before(request.cursor.as_deref())?;
        let keys = self.came.range(..end).rev();
        let mut found = keys.filter_map(|(number, key)| Some((*number, read(key.as_ref()?)?)));
        let (mut items, mut last) = (Vec::new(), 0);
        for (number, item) in found.by_ref().take(request.limit.max(1)) {
            items.push(item);
            last = number;
        }
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
