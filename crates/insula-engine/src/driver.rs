//! Carries out what the state machine decides, for one run from its admission to its end.

mod ends;
mod leaving;
mod turn;

use std::sync::{Arc, atomic::Ordering};

use futures::future::join_all;
use insula_agent::{InstanceMarker, Session};
use insula_context::{CancelReason, Deadline, Timestamp, UserExecutionContext};
use insula_factory::{AgentInstance, BoundResources, Gate};
use insula_infra::{Error as InfraError, EventType, FailReason};
use insula_registry::AgentClass;
use serde_json::Value;
use tracing::Instrument;

use self::{leaving::Way, turn::Turn};
use crate::{
    Error, Outcome,
    agent_task::{AgentEnd, Leaving, gone, leave, poll_agent},
    budget,
    core::RunCore,
    ending::{errored, round},
    events::{self, Shown},
    giving_back,
    history::Came,
    host::RunHost,
    lanes::LaneTask,
    limits::{Account, RunPermit},
    machine::{Command, Ending, Happened, Phase},
    origin::{Opened, Origin, open_journal},
    platform::{Leaves, Platform},
    spans,
    waits::{Parked, Waits},
};

/// What is to be run.
pub(crate) struct Job {
    pub platform: Arc<Platform>,
    pub account: Arc<Account>,
    pub context: UserExecutionContext,
    pub class: Arc<AgentClass>,
    pub instance: Option<AgentInstance>,
    pub input: Value,
    pub origin: Origin,
    pub report: Option<Report>,
}

/// Is told of a run's end, also of one that nobody waits for any more.
pub(crate) type Report = Box<dyn FnOnce(&Outcome) + Send>;

/// What became of a run here.
pub(crate) enum Driven {
    Ended(Outcome),
    /// It goes on later or elsewhere; whoever wants to be told of its end has not been.
    Left(Option<Report>),
}

/// Runs a job to its end here. Dropped before that, the run is stopped and its log says so.
pub(crate) async fn run(job: Job) -> Result<Driven, Error> {
    start(job)?.await
}

/// Enters a run now; the future runs it to its end. Apart from [`run`] because a future that holds the job as well as what
/// is made of it is half as large again, for as long as the run lives.
pub(crate) fn start(job: Job) -> Result<impl Future<Output = Result<Driven, Error>> + Send, Error> {
    let driver = Driver::admit(job)?;
    let span = driver.run.span.clone();
    Ok(driver.drive().instrument(span))
}

/// Runs another agent as a child of a run.
pub(crate) async fn child(
    parent: &Arc<RunCore>,
    context: UserExecutionContext,
    class: &str,
    input: Value,
) -> Result<Driven, Error> {
    let platform = Arc::clone(&parent.platform);
    let class = Arc::clone(platform.instances.check(class, context.scope())?);
    platform.instances.registry().check_input(class.name(), &input).map_err(Error::Input)?;
    let origin = Origin::Child(Arc::clone(parent));
    let account = Arc::clone(&parent.account);
    run(Job { platform, account, context, class, instance: None, input, origin, report: None }).await
}

struct Driver {
    run: Arc<RunCore>,
    deadline: Deadline,
    /// When it is to have ended, if somebody asked for that.
    due: Option<Timestamp>,
    input: Option<Value>,
    instance: Option<AgentInstance>,
    turn: Turn,
    /// The run that this one is a child of.
    parent: Option<Arc<RunCore>>,
    permit: Option<RunPermit>,
    agent: Option<LaneTask<AgentEnd>>,
    leaving: Option<Leaving>,
    /// The input as the log shows it, until the start has been said.
    shown: Option<Shown>,
    /// What happened before the run came here, if it is not simply to be started.
    before: Option<Happened>,
    report: Option<Report>,
    /// How the run ends, from the decision until it is written: whoever waits may go in between.
    owed: Option<Ending>,
    ended: Option<Ending>,
    /// What it waits for, between the decision to park it and the write that says so.
    parked: Parked,
    /// Whether it stands among the live runs.
    live: bool,
    /// Whether the log says that it is being undone.
    undoing: bool,
    /// How far a run that leaves has come.
    leaving_by: Way,
}

impl Driver {
    /// Enters the run into what this process holds. Nothing is written yet.
    fn admit(job: Job) -> Result<Self, Error> {
        let Job { platform, account, context, class, instance, input, origin, report } = job;
        let run_time = account.run_time(&class);
        let context = spans::joined(&*platform.traces, context, &origin);
        let asked = context.deadline();
        let (context, canceller) = context.narrow(Some(Deadline::after(run_time)));
        let deadline = context.deadline().unwrap_or_else(|| Deadline::after(run_time));
        let waits = Arc::<Waits>::default();
        // A run that somebody waits for in this process ends with it.
        let leaves = match origin {
            Origin::Queue(..) => Leaves::AtShutdown,
            Origin::Child(_) => Leaves::WithItsParent,
            Origin::Caller => Leaves::WhenOusted,
        };
        platform.live.enter(context.scope(), context.run(), canceller.clone(), (leaves, Arc::clone(&waits)))?;
        let entered = Entered { platform: &platform, context: &context, kept: false };
        let now = platform.clock.now();
        // A run in pieces is as old as its first one.
        let accepted_at = match &origin {
            Origin::Queue(claimed, ..) => claimed.run.created_at,
            _ => now,
        };
        let shown = events::show("the input", &input)?;
        let (turn, parent) = match &origin {
            Origin::Caller => (Turn::Line, None),
            // A child runs under its parent's permit, also when both were taken over.
            Origin::Queue(claimed, ..) if claimed.lease.header.parent.is_some() => (Turn::Parents, None),
            Origin::Queue(..) => (Turn::Accepted, None),
            Origin::Child(parent) => (Turn::Parents, Some(Arc::clone(parent))),
        };
        let meter = budget::open(&class, &origin);
        let spanned = spans::invoke_agent(&*platform.traces, context.clone(), &class, &origin);
        let Opened { journal, before, history, due } =
            open_journal(&platform, &context, &class, &shown, asked, origin, now);
        entered.keep();
        let run = RunCore::new(
            platform,
            account,
            spanned,
            canceller,
            class,
            journal,
            waits,
            history,
            meter,
            accepted_at,
            deadline.remaining(),
        );
        let (input, shown) = (Some(input), Some(shown));
        let undoing = run.history.recorded().ending.is_some();
        let (permit, agent, leaving, owed, ended) = (None, None, None, None, None);
        Ok(Self {
            run,
            deadline,
            due,
            input,
            instance,
            turn,
            parent,
            permit,
            agent,
            leaving,
            shown,
            before,
            report,
            owed,
            ended,
            parked: Parked::new(),
            live: true,
            undoing,
            leaving_by: Way::Decided,
        })
    }

    async fn drive(mut self) -> Result<Driven, Error> {
        loop {
            let happened = match self.next().await {
                Err(Error::Storage(InfraError::CancelledAhead { reason, .. })) => self.never_was(reason),
                happened => happened?,
            };
            let commands = self.run.step(happened);
            self.owed = commands.iter().find_map(Command::ending).cloned();
            for command in commands {
                self.carry_out(command).await?;
            }
            if let Phase::Ended(_) | Phase::Left = self.run.phase() {
                break;
            }
        }
        match self.run.journal.commit().await {
            // All of it was one write, and the wish was there before it.
            Err(InfraError::CancelledAhead { reason, .. }) => {
                let reason = self.never_was(reason);
                self.end_again(reason).await?;
            }
            written => written?,
        }
        if self.run.phase() == Phase::Left {
            if let Some(parent) = &self.parent {
                parent.meter.child_left(self.run.context.run(), self.run.meter.spent());
            }
            self.leaving_by = Way::Told;
            return Ok(Driven::Left(self.leave_behind()));
        }
        if self.run.history.is_resumed() {
            // The store has asked its children to stop, and some may be here.
            self.run.platform.background.wake.notify_one();
        }
        self.finish().map(Driven::Ended)
    }

    /// Waits for the next thing to happen. A stop comes before everything else, and the time before the agent.
    async fn next(&mut self) -> Result<Happened, Error> {
        if let Some(happened) = self.before.take() {
            return Ok(happened);
        }
        let (run, deadline, linger) = (Arc::clone(&self.run), self.deadline, self.run.platform.limits().park_after);
        let may_leave = self.may_leave();
        let happened = async {
            match self.run.phase() {
                Phase::Queued => self.turn().await,
                _ => self.agent_end().await,
            }
        };
        tokio::select! {
            biased;
            reason = run.context.cancellation().cancelled() => Ok(Happened::Stopped(reason)),
            happened = happened => happened,
            departure = run.waits.departure(linger), if may_leave => Ok(self.depart(departure)),
            () = deadline.passed() => Ok(Happened::TimedOut { limit: format!("{:?}", round(run.allowed)) }),
        }
    }

    async fn agent_end(&mut self) -> Result<Happened, Error> {
        let Some(agent) = &mut self.agent else { return Ok(Happened::Lost) };
        let end = agent.await;
        self.agent = None;
        if let Some(error) = self.run.journal.failure() {
            return Err(error.into());
        }
        // Also of an agent that made nothing of it.
        if let Err(diverged) = self.run.history.agrees() {
            return Ok(errored(&diverged));
        }
        // Also of an agent that makes nothing of a call that was refused.
        if let Some(message) = self.run.meter.overspent() {
            return Ok(Happened::Errored { reason: FailReason::Budget, message, cause: None });
        }
        Ok(match end {
            Some(AgentEnd::Returned(Ok(result))) => Happened::Returned(result),
            Some(AgentEnd::Returned(Err(error))) => self.again(&error).unwrap_or_else(|| errored(&error)),
            Some(AgentEnd::Refused(error)) => {
                Happened::Errored { reason: FailReason::Error, message: error.to_string(), cause: None }
            }
            Some(AgentEnd::Panicked(cause)) => Happened::Panicked { cause },
            None => Happened::Lost,
        })
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Start => self.start(),
            Command::StopAgent => self.stop_agent().await,
            Command::Park => self.park().await,
            Command::HandOver => self.hand_over().await,
            Command::End(ending) => {
                let mut orphans = self.run.take_orphans();
                join_all(orphans.iter_mut().map(|orphan| gone(&self.run, orphan))).await;
                self.undo(&ending).await?;
                self.end(ending);
            }
        }
        Ok(())
    }

    fn start(&mut self) {
        let run = Arc::clone(&self.run);
        let instance =
            self.instance.take().unwrap_or_else(|| run.platform.instances.create_of(&run.class, &run.context));
        run.journal.begins();
        self.say_started(instance.marker());
        run.platform.counters.runs_started.fetch_add(1, Ordering::AcqRel);
        let bound = BoundResources::new(run.context.clone(), Arc::clone(run.class.name()), run.platform.ports.clone());
        let resources = Arc::new(bound.behind(Arc::clone(&run) as Arc<dyn Gate>));
        let session = Session::new(Arc::new(RunHost::new(Arc::clone(&run), resources, instance.marker())));
        let input = self.input.take().unwrap_or_default();
        let polled = poll_agent(Arc::clone(&run), instance, session, input).instrument(run.span.clone());
        self.agent = Some(run.platform.lanes.spawn(polled));
    }

    fn say_started(&mut self, marker: InstanceMarker) {
        let Some(Shown { shown, payload, .. }) = self.shown.take() else { return };
        match self.run.history.came() {
            Came::Fresh => {}
            // What it waited for says why it goes on.
            Came::Woken => return,
            Came::Lost => {
                let why = events::Why::WorkerLost;
                return self.run.journal.say(EventType::AgentResumed, &events::Resumed { why });
            }
        }
        let class = &self.run.class;
        let said = events::Started { class: class.name(), version: class.version(), input: &shown, marker };
        let event = events::event(EventType::AgentStarted, self.run.platform.clock.now(), &said);
        self.run.journal.add(event, payload, |_| {});
    }

    /// Tells everything below to stop, and waits until the agent is gone.
    async fn stop_agent(&mut self) {
        // What stands below is told who stopped it, when somebody did.
        let why = self.run.context.cancellation().reason();
        let why = why.unwrap_or_else(|| CancelReason::new("engine", "the run is over"));
        // Nobody has stopped a run that goes on elsewhere, and so do its children: they must not be told before they go.
        let goes_on = self.run.phase() == Phase::Left;
        if !goes_on {
            self.run.canceller.cancel(why.clone());
        }
        self.leaving = self.agent.take().map(leave);
        if let Some(leaving) = &mut self.leaving {
            gone(&self.run, leaving).await;
        }
        if goes_on {
            let mut orphans = self.run.take_orphans();
            join_all(orphans.iter_mut().map(|orphan| gone(&self.run, orphan))).await;
            self.run.canceller.cancel(why);
        }
        self.leaving = None;
    }
}

impl Drop for Driver {
    /// Whoever waited is gone. The run ends here all the same, and its log says why.
    fn drop(&mut self) {
        // Before anything is written: what is given back may be claimed here at once.
        self.leave_the_live();
        let leaving = self.leaving.take().or_else(|| self.agent.take().map(leave));
        if let (Some(leaving), Some(parent)) = (leaving, &self.parent) {
            parent.adopt(leaving);
        }
        if self.run.phase() == Phase::Left {
            self.left_alone();
        } else if self.goes_on_with_its_parent() {
            self.leave_with_its_parent();
        } else if let Some(ending) = self.owed.take().or_else(|| self.abandoned()) {
            self.end_later(ending);
            giving_back::unless_written(&self.run);
        } else if self.run.journal.failure().is_some() {
            giving_back::unless_written(&self.run);
        }
        if let Some(ending) = self.ended.take().filter(|_| self.run.journal.failure().is_none()) {
            self.tell(ending);
        }
    }
}

/// Takes a run out of the live ones again when its admission fails half-way.
struct Entered<'a> {
    platform: &'a Platform,
    context: &'a UserExecutionContext,
    kept: bool,
}

impl Entered<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.platform.live.leave(self.context.scope(), self.context.run());
        }
    }
}
