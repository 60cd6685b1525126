//! Whatever is asked of the queue in whatever order, it does what a small model says: one holder per run, no run lost,
//! owners in turn, an owner's runs by priority and arrival.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod model;

use std::{sync::Arc, time::Duration};

use insula_context::{CancelReason, Clock, RunId, ScopeIssuer, ThreadId, UserScope};
use insula_infra::{
    Answer, Append, Backend, Claimed, Error, EventType, Lease, NewEvent, NewQuestion, NewRun, RawJson, RunChange,
    RunHeader, Submitted, ThreadPolicy, WaitFor, WorkerId,
    conformance::{ManualClock, Subject},
};
use proptest::prelude::*;

use self::model::{Model, Place};

/// How long a lease lasts, in seconds.
const LEASE: u64 = 30;

/// What may happen next. A number chooses among the runs for which it makes sense, where there are any.
#[derive(Debug, Clone)]
enum Step {
    Submit { owner: usize, thread: usize, policy: Option<ThreadPolicy>, priority: i16, delay: u64 },
    Claim { max: usize },
    Say(usize),
    Park { which: usize, seconds: Option<u64>, asks: bool },
    HandOver(usize),
    End(usize),
    Answer(usize),
    Stop(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let policy = prop_oneof![
        3 => Just(Some(ThreadPolicy::Enqueue)),
        1 => Just(Some(ThreadPolicy::Reject)),
        1 => Just(Some(ThreadPolicy::Interrupt)),
        1 => Just(Some(ThreadPolicy::Rollback)),
        3 => Just(None),
    ];
    let delay = prop_oneof![4 => Just(0), 1 => 1..40_u64];
    let submit = (0..3_usize, 0..2_usize, policy, -1..=1_i16, delay)
        .prop_map(|(owner, thread, policy, priority, delay)| Step::Submit { owner, thread, policy, priority, delay });
    let park = (any::<usize>(), prop::option::of(1..40_u64), any::<bool>())
        .prop_map(|(which, seconds, asks)| Step::Park { which, seconds, asks });
    prop_oneof![
        5 => submit,
        5 => (0..4_usize).prop_map(|max| Step::Claim { max }),
        1 => any::<usize>().prop_map(Step::Say),
        3 => park,
        1 => any::<usize>().prop_map(Step::HandOver),
        3 => any::<usize>().prop_map(Step::End),
        2 => any::<usize>().prop_map(Step::Answer),
        1 => any::<usize>().prop_map(Step::Stop),
        2 => (1..45_u64).prop_map(Step::Pass),
    ]
}

/// A backend beside the model of what it has to do. Whoever has this module says which, and how many stories it is tried
/// with.
struct Both {
    /// Keeps alive what the backend needs.
    _subject: Subject,
    backend: Backend,
    clock: Arc<ManualClock>,
    owners: Vec<UserScope>,
    /// The newest lease of each run, and how many events the run has.
    leases: Vec<Option<(Lease, u64)>>,
    model: Model,
}

impl Both {
    fn new(subject: Subject) -> Self {
        let (backend, clock) = (subject.backend.clone(), Arc::clone(&subject.clock));
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let issuer = ScopeIssuer::new();
        let owners = ["ada", "bob", "eve"].map(|name| issuer.issue("acme", name).unwrap()).into();
        Self { _subject: subject, backend, clock, owners, leases: Vec::new(), model: Model::default() }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Submit { owner, thread, policy, priority, delay } => {
                self.submit(owner, thread, policy, priority, delay).await;
            }
            Step::Claim { max } => self.claim(max).await,
            Step::Say(which) => self.write(which, None, false).await,
            Step::Park { which, seconds, asks } => {
                let until = seconds.map(|seconds| self.clock.now().plus(Duration::from_secs(seconds)));
                let change = RunChange::Waiting { reason: WaitFor::Human, until, children: Vec::new() };
                self.write(which, Some(change), asks).await;
            }
            Step::HandOver(which) => self.write(which, Some(RunChange::HandedOver), false).await,
            Step::End(which) => self.write(which, Some(RunChange::Completed { result: json("null") }), false).await,
            Step::Answer(which) => self.answer(which).await,
            Step::Stop(which) => self.stop(which).await,
            Step::Pass(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.model.now += seconds;
            }
        }
    }

    async fn submit(&mut self, owner: usize, thread: usize, policy: Option<ThreadPolicy>, priority: i16, delay: u64) {
        let name = format!("r{}", self.model.runs.len());
        let (run, in_thread) = (RunId::new(name).unwrap(), ThreadId::new(format!("t{thread}")).unwrap());
        let scope = self.owners[owner].clone();
        let header = Arc::new(RunHeader { scope, thread: in_thread, run, parent: None, agent: "a".into() });
        let now = self.clock.now();
        let available_at = (delay > 0).then(|| now.plus(Duration::from_secs(delay)));
        let new = NewRun::new(header, "1".into(), json("null"), now);
        let answer = self.backend.queue.submit(NewRun { policy, priority, available_at, ..new }, None).await;
        if self.model.submit(owner, thread, policy, priority, delay) {
            assert!(matches!(answer, Ok(Submitted::New)), "{answer:?}");
            self.leases.push(None);
        } else {
            assert!(matches!(answer, Err(Error::ThreadBusy { .. })), "{answer:?}");
        }
    }

    async fn claim(&mut self, max: usize) {
        let (worker, lease) = (WorkerId::new("w"), Duration::from_secs(LEASE));
        let claimed = self.backend.queue.claim(&worker, lease, max, usize::MAX).await.unwrap();
        let indices: Vec<_> = claimed.iter().map(index).collect();
        self.model.claim(max, &indices);
        for claimed in claimed {
            let run = index(&claimed);
            assert_eq!(claimed.run.cancel.is_some(), self.model.runs[run].stopped, "r{run}: the wish to stop");
            assert_eq!(!claimed.answers.is_empty(), self.model.runs[run].answered, "r{run}: the answer");
            let before = self.leases[run].replace((claimed.lease, claimed.run.events));
            if let Some((stale, after)) = before {
                let refused = self.backend.queue.append(Append::new(stale, after)).await;
                assert!(matches!(refused, Err(Error::StaleLease { .. })), "r{run} has two holders: {refused:?}");
            }
        }
    }

    /// Writes to one of the held runs.
    async fn write(&mut self, which: usize, change: Option<RunChange>, asks: bool) {
        let Some(run) = pick(which, &self.model.held()) else { return };
        let (lease, after) = self.leases[run].as_mut().unwrap();
        let kind = change.as_ref().and_then(RunChange::terminal_event).unwrap_or(EventType::AgentThinking);
        let now = self.clock.now();
        let (index, kind_of_question) = (u32::try_from(*after).unwrap(), WaitFor::Human);
        let question =
            NewQuestion { index, kind: kind_of_question, question: json("1"), asked_at: now, expires_at: None };
        let closes = if change.is_some() { (0..index).collect() } else { Vec::new() };
        let asks: Vec<_> = asks.then_some(question).into_iter().collect();
        let asked = !asks.is_empty();
        let events = vec![NewEvent { kind, at: now, data: json("null"), journal: None }];
        self.model.write(run, change.as_ref(), asked.then_some(index), now_of(&change, now));
        let append = Append { events, change, asks, closes, ..Append::new(lease.clone(), *after) };
        self.backend.queue.append(append).await.unwrap();
        *after += 1;
    }

    async fn answer(&mut self, which: usize) {
        let Some(run) = pick(which, &self.model.asking()) else { return };
        let index = self.model.answer(run);
        let answer = Answer { index, answer: json("2"), by: "somebody".into() };
        let (scope, id) = self.name(run);
        let request = self.backend.inbox.answer(&scope, &id, answer).await.unwrap();
        assert_eq!(request, Some(insula_infra::AnswerRequest::Recorded), "r{run}");
    }

    async fn stop(&mut self, which: usize) {
        let Some(run) = pick(which, &self.model.open()) else { return };
        self.model.stop(run);
        let (scope, id) = self.name(run);
        let reason = CancelReason::new("user", "enough");
        let request = self.backend.runs.request_cancel(&scope, &id, reason).await.unwrap();
        assert_eq!(request, insula_infra::CancelRequest::Recorded, "r{run}");
    }

    fn name(&self, run: usize) -> (UserScope, RunId) {
        (self.owners[self.model.runs[run].owner].clone(), RunId::new(format!("r{run}")).unwrap())
    }

    /// Ends everything: whatever has happened, each open run is within reach.
    async fn drain(&mut self) {
        for run in self.model.open() {
            if matches!(self.model.runs[run].place, Place::Parked { until: None }) {
                let at = self.model.open().iter().position(|open| *open == run).unwrap();
                self.stop(at).await;
            }
        }
        for _ in 0..=self.model.runs.len() {
            while !self.model.held().is_empty() {
                self.take(Step::End(0)).await;
            }
            self.take(Step::Pass(LEASE + 15)).await;
            self.claim(usize::MAX).await;
        }
        assert!(self.model.open().is_empty(), "{:?} were lost", self.model.open());
    }
}

/// The time until which a change parks, in seconds from now.
fn now_of(change: &Option<RunChange>, now: insula_context::Timestamp) -> Option<u64> {
    match change {
        Some(RunChange::Waiting { until, .. }) => until.map(|until| until.since(now).as_secs()),
        _ => None,
    }
}

fn index(claimed: &Claimed) -> usize {
    claimed.lease.header.run.as_str()[1..].parse().unwrap()
}

fn pick(which: usize, among: &[usize]) -> Option<usize> {
    (!among.is_empty()).then(|| among[which % among.len()])
}

fn json(text: &str) -> RawJson {
    serde_json::value::RawValue::from_string(text.to_owned()).unwrap().into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_says(steps in prop::collection::vec(step(), 1..90)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new(super::subject().await);
            for step in steps {
                both.take(step).await;
            }
            both.drain().await;
        });
    }
}
