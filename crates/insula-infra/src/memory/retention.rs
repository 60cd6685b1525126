//! What an owner may look back at, and what goes: amortised, a constant per ended run.

use insula_context::{RunId, ThreadId};

use super::{
    owner::{Owner, Place},
    thread::Thread,
};
use crate::StateSpace;

impl Owner {
    /// Forgets the runs that ended longest ago, until `limit` ended ones are left.
    pub(super) fn forget_beyond(&mut self, limit: usize) {
        while self.ended.len() > limit {
            let Some(run) = self.ended.pop_front().and_then(|run| self.runs.get_mut(&run)) else { continue };
            run.place = Place::Forgotten;
            let thread = run.record.header.thread.clone();
            self.trim(&thread);
        }
    }

    /// Drops the events of forgotten runs from the front of a thread's log, and each run with the last of its events.
    /// What stands behind an event of a remembered run stays, or the log would have a hole.
    fn trim(&mut self, id: &ThreadId) {
        while let Some(thread) = self.threads.get_mut(id) {
            let Some(front) = thread.log.front() else { break };
            let Some(run) = self.runs.get(&front.header.run) else { break };
            let (Place::Forgotten, Some((_, last))) = (&run.place, run.span) else { break };
            let run = &run.record.header;
            while thread.oldest <= last && thread.log.front().is_some_and(|event| event.header.run == run.run) {
                thread.log.pop_front();
                thread.oldest += 1;
            }
            if thread.oldest > last {
                let run = run.run.clone();
                self.remove(&run);
            }
        }
        self.give_back(id);
    }

    /// Drops an ended run. Its events are the thread's.
    pub(super) fn remove(&mut self, id: &RunId) {
        let Some(run) = self.runs.remove(id) else { return };
        run.payloads.iter().for_each(|hash| self.payloads.release(hash));
        if let Some(key) = run.key {
            self.keys.remove(&key);
        }
        if !self.state.is_empty() {
            self.state.remove(&StateSpace::Run(id.clone()));
        }
        self.run_order.remove(run.number);
        self.forget_call_of_nobody(id);
        if let Some(thread) = self.threads.get_mut(&run.record.header.thread) {
            thread.runs -= 1;
        }
    }

    /// Drops a thread without runs, and the room that a long thread no longer needs.
    fn give_back(&mut self, id: &ThreadId) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        if thread.runs > 0 || thread.forks > 0 {
            shrink(thread);
            return;
        }
        self.drop_thread(id);
    }

    /// Drops a thread without runs and without forks, and those that stayed only because it begins with their log.
    pub(super) fn drop_thread(&mut self, id: &ThreadId) {
        let mut next = Some(id.clone());
        while let Some(id) = next.take() {
            let Some(thread) = self.threads.remove(&id) else { break };
            self.thread_order.remove(thread.number);
            if !self.state.is_empty() {
                self.state.remove(&StateSpace::Thread(id));
            }
            let Some(fork) = thread.fork else { break };
            let Some(origin) = self.threads.get_mut(&fork.thread_id) else { break };
            origin.forks -= 1;
            next = (origin.runs + origin.forks == 0 && origin.fork.is_none()).then_some(fork.thread_id);
        }
    }
}

fn shrink(thread: &mut Thread) {
    let needed = thread.log.len();
    if thread.log.capacity() > 4 * needed + 64 {
        thread.log.shrink_to(2 * needed);
    }
}
