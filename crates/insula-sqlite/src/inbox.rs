//! Work for a thread of this crate: put in one by one, taken out all at once or in turn.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// A queue with room for a fixed number of pieces, for any number of threads on both sides.
///
/// Those who put in wake a thread only if one sleeps, so under load nobody pays for a system call.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    room: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    sleeping: usize,
    closed: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new(room: usize) -> Self {
        let state = State { waiting: VecDeque::new(), sleeping: 0, closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), room }
    }

    /// Puts a piece in, or gives it back when there is no room or nobody will come for it.
    pub(crate) fn put(&self, piece: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.room {
            return Err(piece);
        }
        state.waiting.push_back(piece);
        let wake = state.sleeping > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for work, then takes up to `most` pieces. Empty only when the inbox is closed and done.
    pub(crate) fn take(&self, most: usize) -> VecDeque<T> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return VecDeque::new();
            }
            state.sleeping += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
        if state.waiting.len() <= most {
            return std::mem::take(&mut state.waiting);
        }
        state.waiting.drain(..most).collect()
    }

    /// Takes nothing more in. What is in is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// No change of the state can fail halfway, so what a panicking thread leaves behind is whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_has_no_room_for_and_drains_after_closing() {
        let inbox = Inbox::new(2);
        assert_eq!((inbox.put(1), inbox.put(2), inbox.put(3)), (Ok(()), Ok(()), Err(3)));
        inbox.close();
        assert_eq!(inbox.put(4), Err(4));
        assert_eq!((inbox.take(1), inbox.take(9), inbox.take(9)), ([1].into(), [2].into(), VecDeque::new()));
    }
}
