//! What is tried. Each story is one history of a few threads; it panics, or does not end, when a promise is broken.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use insula_context::{Clock, RunId, ScopeIssuer, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Append, Backend, Commit, Committed, EventType, Lease, MemoryBackend, RunHeader, RunQueue, WaitFor, WorkerId,
    conformance::QueueLayer,
};
use serde_json::json;
use shuttle::future::block_on;

use crate::{
    events,
    inbox::Inbox,
    journal::Journal,
    lanes::{AgentThreads, Lanes},
    limits::{Ledger, Limits},
    signals::{LocalSignals, Signals},
    waits::{Departure, Waiting, Waits},
};

fn ada() -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "the story plays the authenticator")]
    ScopeIssuer::new().issue("acme", "ada").unwrap()
}

/// The writer's inbox: each piece is taken once, in its sender's order, and nobody who waits for one waits in vain.
pub fn every_piece_is_taken_once_and_nobody_sleeps_over_one() {
    let inbox = Arc::new(Inbox::new(64));
    let put = |from: u32| {
        let inbox = Arc::clone(&inbox);
        thread::spawn(move || (0..3).for_each(|n| inbox.put(from + n).expect("there is room")))
    };
    let take = |most: usize| {
        let inbox = Arc::clone(&inbox);
        thread::spawn(move || {
            let mut taken = Vec::new();
            loop {
                let group = inbox.take(most);
                if group.is_empty() {
                    return taken;
                }
                taken.extend(group);
            }
        })
    };
    let (takers, putters) = ([take(1), take(2)], [put(0), put(10)]);
    putters.into_iter().for_each(|putter| putter.join().unwrap());
    inbox.close();
    let taken = takers.map(|taker| taker.join().unwrap());
    for own in &taken {
        for from in [0, 10] {
            let of_one: Vec<_> = own.iter().filter(|piece| (from..from + 10).contains(*piece)).collect();
            assert!(of_one.is_sorted(), "{own:?}");
        }
    }
    let mut all = taken.concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 10, 11, 12]);
}

/// As [`every_piece_is_taken_once_and_nobody_sleeps_over_one`], while it is not closed: a sleeper is woken by the piece.
pub fn a_sleeper_is_woken_by_the_piece_itself() {
    let inbox = Arc::new(Inbox::new(64));
    let takers = [0, 1].map(|_| {
        let inbox = Arc::clone(&inbox);
        thread::spawn(move || inbox.take(1).len())
    });
    let putters = [0, 1].map(|n| {
        let inbox = Arc::clone(&inbox);
        thread::spawn(move || inbox.put(n).expect("there is room"))
    });
    putters.into_iter().for_each(|putter| putter.join().unwrap());
    assert_eq!(takers.map(|taker| taker.join().unwrap()), [1, 1]);
}

/// The threads of agents: every task is polled to its end, also by threads that go to sleep, and all threads end.
pub fn every_agent_is_polled_to_its_end() {
    let lanes = Lanes::new(AgentThreads::Own(2));
    let tasks: Vec<_> = (0..3)
        .map(|n| {
            lanes.spawn(async move {
                shuttle::future::yield_now().await;
                n
            })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(block_on(task), Some(n));
    }
}

/// An agent that keeps its thread busy does not keep the next one waiting.
pub fn a_stuck_thread_is_replaced() {
    let lanes = Lanes::new(AgentThreads::Own(1));
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let stuck = lanes.spawn(async move {
        while !seen.load(Ordering::Acquire) {
            thread::yield_now();
        }
    });
    let next = lanes.spawn(async move { done.store(true, Ordering::Release) });
    assert_eq!((block_on(next), block_on(stuck)), (Some(()), Some(())));
}

/// A task that is stopped is gone when its stopping has been waited for.
pub fn a_stopped_agent_is_gone() {
    let lanes = Lanes::new(AgentThreads::Own(1));
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let task = lanes.spawn(async move {
        let _held = held;
        shuttle::future::yield_now().await;
        shuttle::future::yield_now().await;
    });
    let _ended_before = block_on(task.stop());
    assert_eq!(Arc::strong_count(&alive), 1, "what it held is dropped");
}

/// Signals: a reader that listens first and looks then misses nothing, whoever else begins or ends to listen.
pub fn a_listener_misses_no_news() {
    let (signals, log) = (LocalSignals::new(), Arc::new(Mutex::new(0)));
    let (scope, thread_id) = (ada(), ThreadId::new("t").unwrap());
    let passing = {
        let (signals, scope, thread_id) = (signals.clone(), scope.clone(), thread_id.clone());
        thread::spawn(move || drop(signals.watch(&scope, &thread_id)))
    };
    let reading = {
        let (signals, log, scope, thread_id) = (signals.clone(), Arc::clone(&log), scope.clone(), thread_id.clone());
        thread::spawn(move || {
            let mut watch = signals.watch(&scope, &thread_id);
            while *log.lock().unwrap() < 2 {
                block_on(watch.changed());
            }
        })
    };
    for head in 1..=2 {
        *log.lock().unwrap() = head;
        signals.advanced(&scope, &thread_id, head);
    }
    passing.join().unwrap();
    reading.join().unwrap();
    assert_eq!(signals.watched(), 0, "nobody is kept who has gone");
}

/// Accounts: whoever asks while one exists gets that one, permits are never more than allowed, and nothing is left.
pub fn a_user_has_one_account_and_no_permit_too_many() {
    let ledger = Ledger::new(Limits { engines: 1, ..Limits::default() }, None);
    let inside = Arc::new(Mutex::new(0));
    let come = || {
        let (ledger, inside) = (Arc::clone(&ledger), Arc::clone(&inside));
        thread::spawn(move || {
            for _ in 0..2 {
                let account = ledger.account(&ada());
                if let Ok(permit) = account.engine() {
                    *inside.lock().unwrap() += 1;
                    assert_eq!(*inside.lock().unwrap(), 1, "one engine is allowed");
                    *inside.lock().unwrap() -= 1;
                    drop(permit);
                }
            }
        })
    };
    [come(), come(), come()].into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(ledger.users(), 0, "an account that nobody holds is gone");
}

/// Keeps what was appended, in order.
struct Recorder {
    inner: Arc<dyn RunQueue>,
    appends: Mutex<Vec<Append>>,
}

impl QueueLayer for Recorder {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    fn append(&self, append: Append) -> Commit {
        let head = append.after + append.events.len() as u64;
        self.appends.lock().unwrap().push(append);
        Commit::ready(Ok(Committed { head }))
    }
}

impl Recorder {
    /// The kinds of everything that was written, if no write misses another.
    fn written(&self) -> Vec<EventType> {
        let mut written = Vec::new();
        for append in self.appends.lock().unwrap().iter() {
            assert_eq!(append.after, written.len() as u64, "an append comes after all before it");
            written.extend(append.events.iter().map(|event| event.kind));
        }
        written
    }
}

#[derive(Debug)]
struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

fn journal() -> (Arc<Recorder>, Arc<Journal>) {
    let Backend { queue: inner, .. } = MemoryBackend::with(Arc::new(Epoch)).into_backend();
    let recorder = Arc::new(Recorder { inner, appends: Mutex::default() });
    let header = RunHeader {
        scope: ada(),
        thread: ThreadId::new("t").unwrap(),
        run: RunId::new("r").unwrap(),
        parent: None,
        agent: "asking".into(),
    };
    let lease = Lease { header: Arc::new(header), worker: WorkerId::new("w"), token: 1 };
    let journal = Journal::resume(Arc::clone(&recorder) as _, Arc::new(Epoch), lease, 0, Vec::new());
    (recorder, Arc::new(journal))
}

/// The journal: writers beside each other are one line without a gap, and what was committed is written.
pub fn a_journal_of_two_is_one_line() {
    let (recorder, journal) = journal();
    let say = |kind: EventType| {
        let (recorder, journal) = (Arc::clone(&recorder), Arc::clone(&journal));
        thread::spawn(move || {
            for _ in 0..2 {
                journal.say(kind, &json!(1));
                journal.flush();
                journal.say(kind, &json!(2));
                block_on(journal.commit()).unwrap();
                assert_eq!(recorder.written().iter().filter(|written| **written == kind).count() % 2, 0);
            }
        })
    };
    let both = [say(EventType::Custom), say(EventType::AgentThinking)];
    both.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(recorder.written().len(), 8);
}

fn asked() -> Waiting {
    Waiting { reason: WaitFor::Human, until: None, child: None }
}

/// A run that is parked has said nothing that its parking does not know: either the answer came first and the run stays,
/// or the run left first and the answer is not taken here.
pub fn a_run_is_parked_or_goes_on_and_never_both() {
    let ((_, journal), waits) = (journal(), Arc::new(Waits::default()));
    waits.begin_wait(0, asked());
    let agent = {
        let (journal, waits) = (Arc::clone(&journal), Arc::clone(&waits));
        thread::spawn(move || {
            // As a question that is answered: the wait is over, and its result is said.
            waits.end_wait(0);
            let event = events::event(EventType::StepCompleted, Timestamp::from_micros(0), &json!("yes"));
            journal.add(event, None, |_| {})
        })
    };
    let parked = journal.close_if(|| waits.quiet());
    let said = agent.join().unwrap();
    assert!(parked.is_none() || !said, "it is parked, and it said what it is parked for");
    assert_eq!(parked.is_some(), journal.is_closed());
    assert!(parked.is_some() || said, "it stays, and nothing of what it says is lost");
}

/// The driver is told when a run only waits, whatever came and went before that.
pub fn a_run_that_only_waits_departs() {
    let waits = Arc::new(Waits::default());
    let calls = [0, 1].map(|index| {
        let waits = Arc::clone(&waits);
        thread::spawn(move || {
            waits.begin_work();
            waits.begin_wait(index, asked());
            waits.end_work();
        })
    });
    // It may be quiet between the two calls as well.
    assert_eq!(block_on(waits.departure(Duration::ZERO)), Departure::Quiet);
    calls.into_iter().for_each(|call| call.join().unwrap());
    assert_eq!(waits.quiet().map(|parked| parked.len()), Some(2));
}

/// A run that works is handed over when it is asked to, also while it is looked at whether it is quiet.
pub fn a_run_that_is_to_leave_leaves() {
    let waits = Arc::new(Waits::default());
    waits.begin_work();
    let leaving = Arc::clone(&waits);
    let asked = thread::spawn(move || leaving.hand_over());
    assert_eq!(block_on(waits.departure(Duration::ZERO)), Departure::HandedOver);
    asked.join().unwrap();
}
