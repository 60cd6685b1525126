//! Carries out what the state machine decides, for one run from its admission to its end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use insula_agent::{Error as AgentError, InstanceMarker, Session};
use insula_context::{CancelReason, Deadline, Timestamp, UserExecutionContext};
use insula_factory::{AgentInstance, BoundResources, Gate};
use insula_infra::{Error as InfraError, EventType, FailReason, RunChange, WaitFor};
use insula_registry::AgentClass;
use serde_json::Value;

use crate::{
    Error, Outcome,
    agent_task::{AgentEnd, Leaving, gone, leave, poll_agent},
    budget, children,
    core::RunCore,
    dispatcher,
    ending::{errored, round, terminal},
    events::{self, Shown},
    giving_back,
    history::Came,
    host::RunHost,
    lanes::LaneTask,
    limits::{Account, RunPermit},
    machine::{Command, Ending, Happened, Phase},
    origin::{Opened, Origin, open_journal},
    platform::{Leaves, Platform},
    retry, undo,
    waits::{Departure, Parked, Waiting, Waits},
};

/// A run that waits longer than this for its turn says so.
const QUEUE_NOTICE: Duration = Duration::from_secs(1);

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
    Ok(Driver::admit(job)?.drive())
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

/// How a run gets its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// In a line that may be full.
    Line,
    /// In a line that takes everybody: a run that was taken from the queue has been accepted long ago.
    Accepted,
    /// Under its parent's permit.
    Parents,
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
}

impl Driver {
    /// Enters the run into what this process holds. Nothing is written yet.
    fn admit(job: Job) -> Result<Self, Error> {
        let Job { platform, account, context, class, instance, input, origin, report } = job;
        let run_time = account.run_time(&class);
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
        let Opened { journal, before, history, due } =
            open_journal(&platform, &context, &class, &shown, asked, origin, now);
        entered.keep();
        let run = RunCore::new(
            platform,
            account,
            context,
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
            return Ok(Driven::Left(self.leave_behind()));
        }
        // Only who could write the end has a right to stop what goes on elsewhere.
        if let Some(ending @ (Ending::Failed { .. } | Ending::Cancelled(_))) = &self.ended {
            children::stop_all(&self.run, ending).await;
        }
        self.finish().map(Driven::Ended)
    }

    /// Somebody stopped the run before it was created: all that its log says is that.
    fn never_was(&mut self, reason: CancelReason) -> Happened {
        self.run.journal.begin_again();
        self.run.canceller.cancel(reason.clone());
        Happened::Stopped(reason)
    }

    async fn end_again(&mut self, stopped: Happened) -> Result<(), Error> {
        self.ended = None;
        if let Happened::Stopped(reason) = stopped {
            self.end(Ending::Cancelled(reason));
        }
        Ok(self.run.journal.commit().await?)
    }

    /// The run is the store's now, and may be claimed again by anybody, here as well.
    fn leave_behind(&mut self) -> Option<Report> {
        let background = &self.run.platform.background;
        background.claiming.store(true, Ordering::Release);
        background.wake.notify_one();
        self.report.take()
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

    /// Waits for this run's turn, in the order in which its user's runs came.
    async fn turn(&mut self) -> Result<Happened, Error> {
        if self.turn != Turn::Parents {
            self.permit = match self.run.account.try_run(&self.run.class) {
                Some(permit) => Some(permit),
                None => Some(stand_in_line(&self.run, self.turn).await?),
            };
        }
        Ok(Happened::Admitted)
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

    /// Parks a run that failed until it begins again from the top, if its class says that it does.
    fn again(&mut self, error: &AgentError) -> Option<Happened> {
        let delay = retry::of_run(&self.run, error, self.run.age()).filter(|_| self.may_leave())?;
        let until = self.run.platform.clock.now().plus(delay);
        self.run.journal.add(retry::waiting(&self.run, error, until), None, |_| {});
        self.run.journal.close();
        self.parked = Parked::from([(0, Waiting { reason: WaitFor::Timer, until: Some(until), child: None })]);
        Some(self.left_with(Happened::Quiet))
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

    /// Whether another process could go on with the run: it is found by the name of its class.
    fn may_leave(&self) -> bool {
        let registered = self.run.platform.instances.registry().class(self.run.class.name());
        registered.is_some_and(|class| Arc::ptr_eq(class, &self.run.class))
    }

    /// Closes the run here, if it is still so that it may go. A wish to stop it that comes from now on is the store's.
    fn depart(&mut self, departure: Departure) -> Happened {
        let run = &self.run;
        let happened = match departure {
            Departure::HandedOver => {
                run.journal.close();
                Happened::HandedOver
            }
            Departure::Quiet => match run.journal.close_if(|| run.waits.quiet()) {
                Some(parked) => {
                    self.parked = parked;
                    Happened::Quiet
                }
                // Something came in the meantime.
                None => return Happened::Woken,
            },
        };
        self.left_with(happened)
    }

    /// Takes the run out of the live ones: a wish to stop it is the store's from now on, and one that came before counts.
    fn left_with(&mut self, happened: Happened) -> Happened {
        self.leave_the_live();
        self.run.context.cancellation().reason().map_or(happened, Happened::Stopped)
    }

    /// Gives the run back to the store, until what it waits for comes.
    async fn park(&mut self) {
        self.stop_agent().await;
        let said = children::say_waiting(&self.run, &self.parked);
        let reason = self.parked.values().map(|waiting| waiting.reason).min_by_key(urgency).unwrap_or(WaitFor::Timer);
        let until = self.parked.values().filter_map(|waiting| waiting.until).chain(self.due).min();
        let children = self.parked.values().filter_map(|waiting| Some(waiting.child.as_ref()?.run.clone())).collect();
        let said = said.into_iter().map(|(event, _)| event).collect();
        self.run.journal.end(said, None, RunChange::Waiting { reason, until, children });
    }

    /// Gives the run back to the store for whoever has room.
    async fn hand_over(&mut self) {
        self.stop_agent().await;
        self.run.journal.end(Vec::new(), None, RunChange::HandedOver);
    }

    async fn undo(&mut self, ending: &Ending) -> Result<(), Error> {
        self.close();
        if !undo::is_owed(&self.run, ending) {
            return Ok(());
        }
        if self.run.history.recorded().ending.is_none() {
            self.run.journal.add_last(undo::begins(&self.run, ending));
        }
        Ok(undo::all(&self.run).await?)
    }

    /// Takes nothing more from the agent, and says what is owed for calls that did not end.
    fn close(&self) {
        let now = self.run.platform.clock.now();
        for open in self.run.journal.close() {
            self.run.journal.add_last(dispatcher::aborted(&open, self.run.stopped_calls(), now));
        }
    }

    fn leave_the_live(&mut self) {
        if std::mem::take(&mut self.live) {
            self.run.platform.live.leave(self.run.context.scope(), self.run.context.run());
        }
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
        self.agent = Some(run.platform.lanes.spawn(poll_agent(Arc::clone(&run), instance, session, input)));
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

    /// Writes the end. It is durable when the journal's next commit says so.
    fn end(&mut self, ending: Ending) {
        self.close();
        let now = self.run.platform.clock.now();
        let usage = self.run.usage(1);
        let (event, payload, change) = terminal(&self.run, &ending, usage, now);
        self.run.journal.end(vec![event], payload, change);
        self.owed = None;
        self.ended = Some(ending);
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        let Some(ending) = self.ended.take() else { return Err(Error::ShutDown) };
        Ok(self.tell(ending))
    }

    /// Counts the end and tells whoever wants to know.
    fn tell(&mut self, ending: Ending) -> Outcome {
        let run = &self.run;
        let counters = &run.platform.counters;
        let counter = match ending {
            Ending::Completed(_) => &counters.runs_completed,
            Ending::Failed { .. } => &counters.runs_failed,
            Ending::Cancelled(_) => &counters.runs_cancelled,
        };
        counter.fetch_add(1, Ordering::AcqRel);
        let outcome = Outcome {
            run: run.context.run().clone(),
            thread: run.context.thread().clone(),
            agent: run.class.name().to_string(),
            end: ending.into(),
            usage: run.usage(0),
            spent: run.meter.spent(),
            duration: run.age(),
        };
        if let Some(report) = self.report.take() {
            report(&outcome);
        }
        outcome
    }

    /// Whether this child has not ended, and its parent goes on elsewhere: that one will want to know what came of it.
    fn goes_on_with_its_parent(&self) -> bool {
        let elsewhere = |parent: &Arc<RunCore>| parent.phase() == Phase::Left || parent.journal.failure().is_some();
        let over = matches!(self.run.phase(), Phase::Ended(_) | Phase::Left) && self.owed.is_none();
        !over && self.run.journal.failure().is_none() && self.parent.as_ref().is_some_and(elsewhere)
    }

    /// Gives the run back for whoever goes on with its parent.
    fn leave_with_its_parent(&mut self) {
        self.owed = None;
        self.run.step(Happened::HandedOver);
        self.run.journal.close();
        if !self.run.journal.is_untouched() {
            self.run.journal.end(Vec::new(), None, RunChange::HandedOver);
            giving_back::unless_written(&self.run);
        }
    }

    /// Ends a run that whoever waited for it has left. What has to be undone before is left to whoever claims the run.
    fn end_later(&mut self, ending: Ending) {
        let journal = &self.run.journal;
        if undo::is_owed(&self.run, &ending) {
            self.close();
            let begins = self.run.history.recorded().ending.is_none().then(|| undo::begins(&self.run, &ending));
            journal.end(begins.into_iter().collect(), None, RunChange::HandedOver);
            self.leave_behind();
        } else {
            self.end(ending);
        }
    }

    /// The end of a run that whoever waited for it has left. Of a run that was refused before anything was said of it,
    /// nothing is left behind.
    fn abandoned(&self) -> Option<Ending> {
        let journal = &self.run.journal;
        if journal.failure().is_some() || journal.is_untouched() {
            return None;
        }
        let gone = || CancelReason::new("caller", "whoever waited for the run is gone");
        let why = self.run.context.cancellation().reason().unwrap_or_else(gone);
        let commands = self.run.step(Happened::Stopped(why.clone()));
        self.run.canceller.cancel(why);
        commands.iter().find_map(Command::ending).cloned()
    }
}

/// What a parked run is said to wait for, when it waits for several things: what somebody could do something about.
const fn urgency(wait: &WaitFor) -> u8 {
    match wait {
        WaitFor::Reconcile => 0,
        WaitFor::Human => 1,
        WaitFor::Child => 2,
        _ => 3,
    }
}

async fn stand_in_line(run: &RunCore, turn: Turn) -> Result<RunPermit, Error> {
    let _place = if turn == Turn::Accepted { run.account.wait_anyway() } else { run.account.wait()? };
    let permit = run.account.run(&run.class);
    tokio::pin!(permit);
    if let Ok(permit) = tokio::time::timeout(QUEUE_NOTICE, &mut permit).await {
        return permit;
    }
    run.journal.stands_in_line();
    run.journal.say(EventType::AgentQueued, &events::Queued { position: run.account.waiting() });
    run.journal.flush();
    permit.await
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
        if self.goes_on_with_its_parent() {
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
