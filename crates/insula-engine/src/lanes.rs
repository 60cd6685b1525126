//! The threads that poll agents.
//!
//! An agent that never yields would take a worker of the runtime with it, and with it timers, sockets and everybody
//! else's runs. So agents are polled on threads of their own. A thread that is stuck in one poll is replaced while it is
//! stuck, so that a busy loop costs processor time and nobody's turn.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use async_task::Runnable;
use futures::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Where agents are polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentThreads {
    /// On this many threads of their own; more are added while some are stuck.
    Own(usize),
    /// On the runtime that the engine is used on. For simulations in virtual time: a busy loop then blocks the runtime.
    Runtime,
}

impl Default for AgentThreads {
    fn default() -> Self {
        Self::Own(thread::available_parallelism().map_or(2, usize::from))
    }
}

/// How long all threads may be stuck while something waits, before another is added.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often a thread lets others run before it sleeps. On two processors, 16 gave 1.1 times the runs of none at 100 at
/// once; 64 gave no more.
const LOOKS: usize = 16;
/// Never more threads than this, however many agents are stuck.
const MOST: usize = 512;

/// Polls agents. Dropping it ends its threads once they are idle.
pub(crate) enum Lanes {
    Own(Arc<Shared>),
    Runtime,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Runnable>,
    threads: usize,
    idle: usize,
    /// Threads that are about to be idle and find by themselves what comes now.
    looking: usize,
    watched: bool,
    closed: bool,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    /// How many polls have begun: the watcher's sign of life.
    polls: AtomicU64,
    /// The length of the queue, for those who look without the lock.
    waiting: AtomicUsize,
    target: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent's task. Dropping it drops the agent's future as soon as it is not being polled.
pub(crate) enum LaneTask<T> {
    Own(async_task::FallibleTask<T>),
    Runtime(AbortOnDropHandle<T>),
}

impl Lanes {
    pub(crate) fn new(threads: AgentThreads) -> Self {
        match threads {
            AgentThreads::Own(target) => Self::Own(Arc::new(Shared {
                queue: Mutex::default(),
                work: Condvar::new(),
                polls: AtomicU64::new(0),
                waiting: AtomicUsize::new(0),
                target: target.max(1),
            })),
            AgentThreads::Runtime => Self::Runtime,
        }
    }

    /// Polls a future to its end. It must not panic.
    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> LaneTask<T> {
        match self {
            Self::Runtime => LaneTask::Runtime(AbortOnDropHandle::new(tokio::spawn(future))),
            Self::Own(shared) => {
                let future = in_runtime(Handle::current(), future);
                let lanes = Arc::clone(shared);
                let (runnable, task) = async_task::spawn(future, move |runnable| schedule(&lanes, runnable));
                runnable.schedule();
                LaneTask::Own(task.fallible())
            }
        }
    }

    /// How many threads there are now.
    pub(crate) fn threads(&self) -> usize {
        match self {
            Self::Own(shared) => shared.lock().threads,
            Self::Runtime => 0,
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Self::Own(shared) = self {
            shared.lock().closed = true;
            shared.work.notify_all();
        }
    }
}

impl<T> LaneTask<T> {
    /// Drops the future, also if nobody waits until it is gone. Gives its result when it had ended already.
    pub(crate) fn stop(self) -> BoxFuture<'static, Option<T>>
    where
        T: Send + 'static,
    {
        let mut gone = match self {
            Self::Own(task) => task.cancel().boxed(),
            Self::Runtime(task) => async move {
                task.abort();
                task.await.ok()
            }
            .boxed(),
        };
        match (&mut gone).now_or_never() {
            Some(result) => std::future::ready(result).boxed(),
            None => gone,
        }
    }
}

impl<T> Future for LaneTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Own(task) => Pin::new(task).poll(cx),
            Self::Runtime(task) => Pin::new(task).poll(cx).map(Result::ok),
        }
    }
}

fn schedule(shared: &Arc<Shared>, runnable: Runnable) {
    let mut queue = shared.lock();
    queue.ready.push_back(runnable);
    let waiting = queue.ready.len();
    shared.waiting.store(waiting, Ordering::Release);
    // A thread that looks around finds it by itself.
    if queue.looking >= waiting {
        return;
    }
    // A woken thread counts as idle until it has the lock: compare, lest two tasks are left to one thread.
    if queue.looking + queue.idle >= waiting {
        drop(queue);
        shared.work.notify_one();
    } else if queue.threads < shared.target {
        start(shared, &mut queue);
    } else if !queue.watched {
        queue.watched = true;
        drop(queue);
        let watched = Arc::clone(shared);
        spawn_thread("insula-watch", move || watch(&watched));
    }
}

fn start(shared: &Arc<Shared>, queue: &mut Queue) {
    queue.threads += 1;
    let lane = Arc::clone(shared);
    spawn_thread("insula-agents", move || work(&lane));
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(run) {
        tracing::error!(%error, "cannot start a thread for agents");
    }
}

fn work(shared: &Shared) {
    while let Some(runnable) = next(shared) {
        shared.polls.fetch_add(1, Ordering::Relaxed);
        runnable.run();
    }
}

/// The next task; `None` when this thread is one too many, or all is over.
fn next(shared: &Shared) -> Option<Runnable> {
    let mut queue = shared.lock();
    loop {
        if let Some(runnable) = queue.ready.pop_front() {
            shared.waiting.store(queue.ready.len(), Ordering::Release);
            return Some(runnable);
        }
        queue = look_around(shared, queue);
        if !queue.ready.is_empty() {
            continue;
        }
        // A thread that was added stays until enough others are idle, which those that are stuck are not.
        if queue.closed || (queue.threads > shared.target && queue.idle >= shared.target) {
            queue.threads -= 1;
            return None;
        }
        queue.idle += 1;
        queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.idle -= 1;
    }
}

/// Lets others run for a moment before this thread goes to sleep: under load the next task comes from one of them, and
/// waking a thread costs more than the task.
fn look_around<'a>(shared: &'a Shared, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    queue.looking += 1;
    drop(queue);
    for _ in 0..LOOKS {
        if shared.waiting.load(Ordering::Acquire) > 0 {
            break;
        }
        thread::yield_now();
    }
    queue = shared.lock();
    queue.looking -= 1;
    queue
}

/// Adds threads while tasks wait and no poll begins. Exists only while there is something to watch.
fn watch(shared: &Arc<Shared>) {
    let mut seen = shared.polls.load(Ordering::Relaxed);
    loop {
        thread::sleep(PATIENCE);
        let mut queue = shared.lock();
        if queue.ready.is_empty() || queue.closed {
            queue.watched = false;
            return;
        }
        let polls = shared.polls.load(Ordering::Relaxed);
        if polls == seen && queue.threads < MOST {
            tracing::debug!(threads = queue.threads, "agents block their threads, adding one");
            start(shared, &mut queue);
        }
        seen = polls;
    }
}

/// Polls a future inside the runtime, so that it finds the timers and sockets there.
fn in_runtime<F: Future + Send>(runtime: Handle, future: F) -> impl Future<Output = F::Output> + Send {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        let _entered = runtime.enter();
        future.as_mut().poll(cx)
    })
}
