//! A process that is lost at any of its writes, once and twice, without a real process: everything that reached the store
//! before is written again into a fresh one, and another engine goes on from there.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use insula_engine::AgentThreads;
use insula_infra::Backend;

use super::{
    book::{Book, Note},
    cases::{Case, LEASE, cases},
    seen::Seen,
    tap::{Lost, Recorder, Write, tap},
};
use crate::support::{Backing, ShiftedClock};

/// Longer than any of these stories takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A story that nothing happened to.
struct Undisturbed {
    case: Case,
    /// What was written, and how much had really been done before it.
    writes: Vec<(Write, usize)>,
    notes: Vec<Note>,
    seen: Seen,
}

/// One way to be lost.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// How many writes had reached the store.
    writes: usize,
    /// How much had really been done.
    notes: usize,
    /// Whoever goes on is lost as well, before this write.
    again: Option<usize>,
}

impl Undisturbed {
    async fn watch(case: Case) -> Self {
        let (book, backend) = (Book::here(), Backing::Memory.open(ShiftedClock::new()));
        let recorder = Recorder::beside(&book);
        let factory = case.engine(tap(&backend, Arc::clone(&recorder) as _), &book, AgentThreads::Runtime);
        let told = tokio::time::timeout(PATIENCE, case.tell(&factory, &book)).await;
        assert!(told.is_ok(), "{} does not end", case.name());
        let seen = Seen::of(&backend, &book).await;
        Self { case, writes: recorder.writes(), notes: book.notes(), seen }
    }

    /// After each write: as soon as it was made, and as late as before the next one. Then all of them with a second loss.
    fn points(&self) -> Vec<Point> {
        let done_before = |write: usize| self.writes.get(write).map_or(self.notes.len(), |(_, notes)| *notes);
        let mut points = Vec::new();
        for writes in 1..=self.writes.len() {
            let (early, late) = (done_before(writes - 1), done_before(writes));
            points.push(Point { writes, notes: early, again: None });
            if late > early {
                points.push(Point { writes, notes: late, again: None });
            }
        }
        let again = |(n, point): (usize, &Point)| Point { again: Some(1 + n % 4), ..*point };
        points.extend(points.clone().iter().enumerate().map(again).collect::<Vec<_>>());
        points
    }

    /// What is wrong after such a loss.
    async fn lose(&self, backing: Backing, point: Point) -> Vec<String> {
        let (clock, book) = (ShiftedClock::new(), Book::with(&self.notes[..point.notes]));
        let backend = backing.open(Arc::clone(&clock) as _);
        for (write, _) in &self.writes[..point.writes] {
            again(&backend, write).await;
        }
        let going_on = async {
            if let Some(write) = point.again {
                clock.advance(LEASE + Duration::from_secs(1));
                self.lose_again(&backend, &book, write).await;
            }
            clock.advance(LEASE + Duration::from_secs(1));
            let factory = self.case.engine(backend.clone(), &book, AgentThreads::Runtime);
            self.case.tell(&factory, &book).await;
        };
        let faults = match tokio::time::timeout(PATIENCE, going_on).await {
            Ok(()) => self.seen.differences(&Seen::of(&backend, &book).await),
            Err(_) => vec![format!("it does not end; {:?}", Seen::of(&backend, &book).await)],
        };
        let name = self.case.name();
        faults.into_iter().map(|fault| format!("{name} {point:?}: {fault}")).collect()
    }

    async fn lose_again(&self, backend: &Backend, book: &Book, write: usize) {
        let lost = Lost::before(write);
        let factory = self.case.engine(tap(backend, Arc::clone(&lost) as _), book, AgentThreads::Runtime);
        tokio::select! {
            () = lost.wait() => {}
            () = self.case.tell(&factory, book) => {}
        }
        std::mem::forget(factory);
    }
}

/// Makes a write once more.
async fn again(backend: &Backend, write: &Write) {
    match write.clone() {
        Write::Submit(run) => drop(backend.queue.submit(run, None).await.unwrap()),
        Write::Append(append) => drop(backend.queue.append(append).await.unwrap()),
        Write::Answer(scope, run, answer) => drop(backend.inbox.answer(&scope, &run, answer).await.unwrap()),
        Write::Stop(scope, run, why) => drop(backend.runs.request_cancel(&scope, &run, why).await.unwrap()),
        Write::StopAll(scope, filter, why) => {
            drop(backend.runs.request_cancel_all(&scope, &filter, why).await.unwrap());
        }
        Write::Claim(worker, runs) => {
            let claiming = async {
                loop {
                    let claimed = backend.queue.claim(&worker, LEASE, runs.len(), usize::MAX).await.unwrap();
                    if !claimed.is_empty() {
                        break claimed;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let claimed = tokio::time::timeout(PATIENCE, claiming).await.expect("it is to be claimed");
            let claimed: Vec<_> = claimed.iter().map(|c| (c.lease.header.run.clone(), c.lease.token)).collect();
            assert_eq!(claimed, runs, "the story goes as it went");
        }
    }
}

async fn lost_at_every_write(backing: fn() -> Backing) {
    let (mut points, mut faults) = (0, Vec::new());
    for case in cases() {
        let undisturbed = Undisturbed::watch(case).await;
        let all = undisturbed.points();
        points += all.len();
        let losing = all.into_iter().map(|point| undisturbed.lose(backing(), point));
        let found: Vec<Vec<String>> = stream::iter(losing).buffer_unordered(16).collect().await;
        faults.extend(found.into_iter().flatten());
    }
    println!("crash points by write: {points} of {} runs", cases().len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test]
async fn a_process_that_is_lost_at_any_write_changes_nothing_in_memory() {
    lost_at_every_write(|| Backing::Memory).await;
}

#[tokio::test]
async fn a_process_that_is_lost_at_any_write_changes_nothing_on_sqlite() {
    lost_at_every_write(Backing::sqlite).await;
}
