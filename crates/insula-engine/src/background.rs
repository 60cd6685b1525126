//! What goes on beside the runs: leases are renewed, the queue is worked on, wishes to stop are obeyed, idle engines are
//! swept. One task per factory; it ends with the factory.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use insula_context::{CancelReason, UserExecutionContext};
use insula_infra::{Claimed, News};
use insula_registry::AgentClass;
use tokio::{task::AbortHandle, time::Instant};

use crate::{
    Error,
    driver::{self, Job},
    giving_back, keeping,
    origin::Origin,
    platform::Platform,
    resume::{self, Restored},
    schedules,
};

/// How long a lost wake-up can delay anything here.
const TICK: Duration = Duration::from_millis(250);
const SWEEP: Duration = Duration::from_secs(30);

/// Starts the task, unless it runs already. It may have ended with the runtime that it was started on.
pub(crate) fn start(platform: &Arc<Platform>) {
    let mut task = platform.background.task.lock().unwrap_or_else(PoisonError::into_inner);
    if task.as_ref().is_none_or(AbortHandle::is_finished) {
        *task = Some(tokio::spawn(tend(Arc::downgrade(platform))).abort_handle());
    }
}

async fn tend(platform: Weak<Platform>) {
    let (mut renewed, mut swept): (Option<Instant>, Option<Instant>) = (None, None);
    let (mut forgot, mut fired): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        let wake = {
            let Some(platform) = platform.upgrade() else { return };
            if platform.background.closed.load(Ordering::Acquire) && platform.live.count() == 0 {
                return;
            }
            if due(&mut renewed, platform.limits().lease / 3) {
                renew(&platform).await;
            }
            if due(&mut swept, SWEEP) {
                sweep(&platform);
            }
            if due(&mut forgot, keeping::LOOK) {
                keeping::forget_old(&platform).await;
            }
            if due(&mut fired, TICK) {
                schedules::fire(&platform);
            }
            heed_news(&platform).await;
            claim(&platform).await;
            Arc::clone(&platform.background.wake)
        };
        // Both ways out are the same: look again.
        let _ = tokio::time::timeout(TICK, wake.notified()).await;
    }
}

fn due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

async fn renew(platform: &Platform) {
    if let Err(error) = platform.backend.queue.renew(&platform.worker, platform.limits().lease).await {
        tracing::warn!(%error, "the lease could not be renewed");
    }
}

/// Stops the runs of this process that somebody asked to stop elsewhere, and hands answers to those that asked.
async fn heed_news(platform: &Platform) {
    if platform.live.count() == 0 {
        return;
    }
    match platform.backend.queue.news(&platform.worker).await {
        Ok(news) => {
            for News { header, stop, answers } in news {
                for answer in answers {
                    platform.live.answer(&header.scope, &header.run, &answer);
                }
                if let Some(reason) = stop {
                    platform.live.cancel(&header.scope, &header.run, reason);
                }
            }
        }
        Err(error) => tracing::warn!(%error, "wishes to stop could not be read"),
    }
}

pub(crate) fn sweep(platform: &Platform) -> usize {
    let idle = platform.limits().engine_idle;
    let reason = CancelReason::new("sweep", "the engine was idle for too long");
    let mut engines = platform.engines.all();
    engines.retain(|engine| engine.is_idle_for(idle));
    for engine in &engines {
        engine.shut_down(&reason);
    }
    engines.len()
}

/// Takes as many runs as there is room for.
async fn claim(platform: &Arc<Platform>) {
    let background = &platform.background;
    while background.claiming.load(Ordering::Acquire) && !background.closed.load(Ordering::Acquire) {
        let room = platform.limits().claimed.saturating_sub(background.claimed.load(Ordering::Acquire));
        if room == 0 {
            return;
        }
        match platform
            .backend
            .queue
            .claim(&platform.worker, platform.limits().lease, room, platform.limits().running)
            .await
        {
            Ok(claimed) if claimed.is_empty() => return,
            Ok(claimed) => claimed.into_iter().for_each(|claimed| work_on(platform, claimed)),
            Err(error) => {
                tracing::warn!(%error, "no runs could be claimed");
                return;
            }
        }
    }
}

/// One of the runs that this process has claimed; it makes room when it goes.
struct Room(Arc<Platform>);

impl Room {
    fn take(platform: &Arc<Platform>) -> Self {
        platform.background.claimed.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(platform))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let background = &self.0.background;
        // Only whoever was full needs to be told that there is room again.
        if background.claimed.fetch_sub(1, Ordering::AcqRel) >= self.0.limits().claimed {
            background.wake.notify_one();
        }
    }
}

fn work_on(platform: &Arc<Platform>, claimed: Claimed) {
    let room = Room::take(platform);
    tokio::spawn(async move {
        let lease = claimed.lease.clone();
        if let Err(error) = run_claimed(&room.0, claimed).await {
            tracing::error!(run = %lease.header.run, %error, "a claimed run could not be carried to its end");
            let platform = Arc::downgrade(&room.0);
            drop(room);
            giving_back::give_back(platform, lease).await;
        }
    });
}

async fn run_claimed(platform: &Arc<Platform>, mut claimed: Claimed) -> Result<(), Error> {
    giving_back::oust(platform, &claimed.lease.header.scope, &claimed.lease.header.run).await;
    resume::heed_parent(platform, &mut claimed).await?;
    let header = &claimed.lease.header;
    let context = UserExecutionContext::builder(header.scope.clone(), header.thread.clone(), header.run.clone())
        .ids(Arc::clone(&platform.ids))
        .clock(Arc::clone(&platform.clock));
    let now = platform.clock.now();
    let Restored { input, recorded, options, problem } = resume::restore(platform, &claimed).await?;
    let context = options.apply(context)?;
    let context = match claimed.deadline {
        Some(deadline) => context.timeout(deadline.since(now)).build()?,
        None => context.build()?,
    };
    let account = platform.ledger.account(context.scope());
    let (class, runnable) = match platform.instances.check(&header.agent, &header.scope) {
        Ok(class) => (Arc::clone(class), problem.or_else(|| resume::outdated(class, &recorded)).map_or(Ok(()), Err)),
        Err(error) => (unknown(&header.agent), Err(error.to_string())),
    };
    let origin = Origin::Queue(Box::new(claimed), Box::new(recorded), runnable);
    let platform = Arc::clone(platform);
    let job = Job { platform, account, context, class, instance: None, input, origin, report: None };
    driver::run(job).await.map(|_| ())
}

/// Stands for a class that this process does not have. It is never started.
fn unknown(name: &str) -> Arc<AgentClass> {
    Arc::new(AgentClass::new(name, "0", insula_agent::kit::silent))
}
