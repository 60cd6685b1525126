//! More backends with one mistake each: in whose turn it is, who is woken, which answer counts, who may spend.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{RunId, UserScope};

use super::layer::QueueLayer;
use crate::{
    Allowance, Answer, AnswerRequest, Append, Backend, Balance, Budgets, Ceiling, Claimed, Commit, Error, Holder,
    Inbox, NewRun, OpenQuestion, Page, PageRequest, Reservation, Reserved, RunChange, RunQueue, Submitted, WorkerId,
};

/// The backend, with runs of a thread side by side.
pub fn ignores_the_policy_of_a_thread(backend: Backend) -> Backend {
    with(backend, Mistake::Policy)
}

/// The backend, with parents that their children do not wake.
pub fn loses_the_wake_of_a_parent(backend: Backend) -> Backend {
    with(backend, Mistake::Parent)
}

/// The backend, with no end to what may be held of one owner.
pub fn ignores_what_an_owner_holds(backend: Backend) -> Backend {
    with(backend, Mistake::PerOwner)
}

/// The backend, with the newest answer taken instead of the first.
pub fn takes_a_second_answer(backend: Backend) -> Backend {
    let answers = Arc::new(Answers { inner: Arc::clone(&backend.inbox), newest: Mutex::default() });
    let queue = Arc::new(Mutant { inner: Arc::clone(&backend.queue), mistake: Mistake::Answer(Arc::clone(&answers)) });
    Backend { inbox: answers, queue, ..backend }
}

/// The backend, with reservations that nobody remembers: what is not spent yet may be spent by a second caller.
pub fn forgets_a_reservation(backend: Backend) -> Backend {
    let budgets = Arc::new(Forgetful(Arc::clone(&backend.budgets)));
    Backend { budgets, ..backend }
}

fn with(backend: Backend, mistake: Mistake) -> Backend {
    let queue = Arc::new(Mutant { inner: Arc::clone(&backend.queue), mistake });
    Backend { queue, ..backend }
}

enum Mistake {
    Policy,
    Parent,
    PerOwner,
    Answer(Arc<Answers>),
}

struct Mutant {
    inner: Arc<dyn RunQueue>,
    mistake: Mistake,
}

impl Mutant {
    /// Puts the newest answers in the place of those that were kept.
    fn replace(&self, claimed: &mut Claimed) {
        let Mistake::Answer(answers) = &self.mistake else { return };
        let header = &claimed.lease.header;
        for answer in &mut claimed.answers {
            let newest = answers.newest.lock().unwrap_or_else(PoisonError::into_inner);
            let found = newest.get(&(header.scope.clone(), header.run.clone(), answer.index));
            *answer = found.unwrap_or(answer).clone();
        }
    }
}

#[async_trait]
impl QueueLayer for Mutant {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        let policy = run.policy.filter(|_| !matches!(self.mistake, Mistake::Policy));
        self.inner.submit(NewRun { policy, ..run }, idempotency_key).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let per_owner = if matches!(self.mistake, Mistake::PerOwner) { usize::MAX } else { per_owner };
        let mut claimed = self.inner.claim(worker, lease, max, per_owner).await?;
        claimed.iter_mut().for_each(|claimed| self.replace(claimed));
        Ok(claimed)
    }

    fn append(&self, mut append: Append) -> Commit {
        if matches!(self.mistake, Mistake::Parent) {
            if let Some((new, _)) = &mut append.create {
                let orphan = crate::RunHeader { parent: None, ..(*new.header).clone() };
                new.header = Arc::new(orphan);
                append.lease.header = Arc::clone(&new.header);
            }
            if let Some(RunChange::Waiting { children, .. }) = &mut append.change {
                children.clear();
            }
        }
        self.inner.append(append)
    }
}

/// What was answered last, whatever was kept.
struct Answers {
    inner: Arc<dyn Inbox>,
    newest: Mutex<HashMap<(UserScope, RunId, u32), Answer>>,
}

#[async_trait]
impl Inbox for Answers {
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        self.inner.questions(scope, run, page).await
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        let request = self.inner.answer(scope, run, answer.clone()).await?;
        if !matches!(request, Some(AnswerRequest::Recorded | AnswerRequest::Answered)) {
            return Ok(request);
        }
        let key = (scope.clone(), run.clone(), answer.index);
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer);
        Ok(Some(AnswerRequest::Recorded))
    }
}

/// Looks only at what is spent, and opens accounts with nothing in them.
struct Forgetful(Arc<dyn Budgets>);

#[async_trait]
impl Budgets for Forgetful {
    async fn reserve(&self, scope: &UserScope, wish: Reservation) -> Result<Reserved, Error> {
        for Allowance { holder, ceiling, window } in &wish.allowances {
            let spent = self.0.balance(scope, *holder).await?.spent;
            if let Some(unit) = ceiling.exceeded_by(&spent.plus(wish.amounts)) {
                let limit = ceiling.of(unit).unwrap_or_default();
                return Ok(Reserved::Refused { holder: *holder, unit, limit, retry_after: *window });
            }
        }
        let open = |allowance: Allowance| Allowance { ceiling: Ceiling::default(), ..allowance };
        let allowances = wish.allowances.into_iter().map(open).collect();
        self.0.reserve(scope, Reservation { allowances, amounts: Default::default(), ..wish }).await
    }

    async fn balance(&self, scope: &UserScope, holder: Holder) -> Result<Balance, Error> {
        self.0.balance(scope, holder).await
    }
}
