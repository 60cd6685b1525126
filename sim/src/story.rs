//! One seed from its beginning to its end: who submits, stops and answers what, and what befalls the nodes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_engine::RunRequest;

use crate::{
    actor::ACTOR,
    book::{Key, Standing},
    cluster::Cluster,
    fault::{Fault, Without},
    link::{Condition, Odds},
    mutants::Mutant,
    people,
    plan::Plan,
    rng::Rng,
    verdict,
    world::{Seen, World, lock},
};

/// Faults come within this time, and then no more.
const TROUBLE: Duration = Duration::from_secs(30);
/// How long after the trouble everything may take beside the work itself.
const SLACK: Duration = Duration::from_secs(60);

/// Something that happens at its time.
#[derive(Debug, Clone)]
enum Act {
    Submit(Key, ThreadId, Plan),
    Cancel(Key),
    Befall(u64, Condition),
    Restart(u64),
    Drain(u64),
}

/// What was submitted and asked for.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Every run that was submitted, with its plan.
    pub plans: BTreeMap<Key, Plan>,
    /// Runs that somebody wants to be stopped, and since when the store or the engine knows it for sure.
    pub stops: BTreeMap<Key, Option<Timestamp>>,
}

/// What is played beside the seed.
#[derive(Debug, Clone, Default)]
pub struct Game {
    /// A mistake that is to be found.
    pub mutant: Option<Mutant>,
    /// Faults that do not happen.
    pub without: Without,
}

/// What came of one seed.
#[derive(Debug, Clone)]
pub struct Told {
    /// The seed.
    pub seed: u64,
    /// What was seen.
    pub seen: Seen,
    /// The hash of everything that happened, times and values included.
    pub trace: u64,
    /// The hash of the order in which it happened.
    pub schedule: u64,
    /// Runs, children included.
    pub runs: u64,
}

/// Plays one seed in virtual time; with `lines`, what happens is written down there.
///
/// # Errors
/// When it cannot be set up.
pub fn play(game: &Game, seed: u64, lines: Option<Vec<String>>) -> Result<Told> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let story = runtime.block_on(async {
        let story = Story::draw(game, seed, lines)?;
        story.tell().await?;
        anyhow::Ok(story)
    })?;
    // What is left of the nodes goes without a word.
    story.cluster.stop();
    let (seen, trace, schedule) = story.cluster.world.seen();
    let runs = lock(&story.cluster.world.book).runs.len() as u64;
    drop(runtime);
    Ok(Told { seed, seen, trace, schedule, runs })
}

struct Story {
    cluster: Arc<Cluster>,
    acts: Vec<(Duration, Act)>,
    wishes: Arc<Mutex<Wishes>>,
    /// Calls of users that have no answer yet.
    calls: Arc<AtomicU64>,
}

impl Story {
    fn draw(game: &Game, seed: u64, lines: Option<Vec<String>>) -> Result<Self> {
        let world = Arc::new(World::new(seed, game.without.clone(), lines));
        let rng = &world.rng;
        // Every fourth seed has a store that never fails by itself: what befalls the nodes is seen more clearly.
        let odds = if rng.chance(250) {
            Odds { before: 0, after: 0, delay: 50 }
        } else {
            Odds { before: rng.below(20), after: rng.below(20), delay: rng.below(200) }
        };
        let nodes = rng.between(1, 3);
        let mut acts = submissions(rng)?;
        acts.extend(troubles(rng, nodes));
        acts.sort_by_key(|(at, _)| *at);
        let cluster = Arc::new(Cluster::new(Arc::clone(&world), nodes, odds, game.mutant)?);
        Ok(Self { cluster, acts, wishes: Arc::default(), calls: Arc::default() })
    }

    async fn tell(&self) -> Result<()> {
        let world = &self.cluster.world;
        let answering = tokio::spawn(people::answer_questions(Arc::clone(&self.cluster)));
        for (at, act) in &self.acts {
            tokio::time::sleep(at.saturating_sub(world.age())).await;
            self.perform(act)?;
            if world.is_broken() {
                break;
            }
        }
        tokio::time::sleep(TROUBLE.saturating_sub(world.age())).await;
        self.cluster.heal()?;
        self.wait_for_the_end().await;
        answering.abort();
        if !world.is_broken() {
            let wishes = std::mem::take(&mut *lock(&self.wishes));
            verdict::reach(&self.cluster, &wishes).await?;
        }
        Ok(())
    }

    fn perform(&self, act: &Act) -> Result<()> {
        match act {
            Act::Submit(key, thread, plan) => {
                lock(&self.wishes).plans.insert(key.clone(), plan.clone());
                let request =
                    RunRequest::new(ACTOR, serde_json::to_value(plan)?).run(key.1.clone()).thread(thread.clone());
                self.call(people::submit(Arc::clone(&self.cluster), key.0.clone(), request));
            }
            Act::Cancel(key) => {
                lock(&self.wishes).stops.insert(key.clone(), None);
                self.call(people::cancel(Arc::clone(&self.cluster), Arc::clone(&self.wishes), key.clone()));
            }
            Act::Befall(node, condition) => {
                if condition.fault().is_none_or(|fault| self.cluster.world.befalls(fault)) {
                    self.cluster.set(*node, *condition);
                }
            }
            Act::Drain(node) => {
                if self.cluster.world.befalls(Fault::Drain) {
                    self.cluster.drain(*node);
                }
            }
            Act::Restart(node) => self.cluster.restart(*node)?,
        }
        Ok(())
    }

    fn call(&self, call: impl Future<Output = ()> + Send + 'static) {
        let calls = Arc::clone(&self.calls);
        calls.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            call.await;
            calls.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Liveness: what is healed goes on and comes to its end.
    async fn wait_for_the_end(&self) {
        let world = &self.cluster.world;
        let work: u64 = lock(&self.wishes).plans.values().map(Plan::millis).sum();
        let bound = TROUBLE + SLACK + Duration::from_millis(2 * work);
        self.call(tidy_up(Arc::clone(&self.cluster), Arc::clone(&self.wishes)));
        loop {
            let open = open_runs(&self.cluster);
            let done = open.is_empty() && self.calls.load(Ordering::Acquire) == 0;
            if done || world.is_broken() {
                return world.check("every run ends", None);
            }
            if world.age() > bound {
                return world.check("every run ends", Some(format!("after {bound:?}: {}", open.join("; "))));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn submissions(rng: &Rng) -> Result<Vec<(Duration, Act)>> {
    #[expect(clippy::disallowed_methods, reason = "the simulation plays the authenticator")]
    let issuer = insula_context::ScopeIssuer::new();
    let users: Vec<UserScope> =
        (0..rng.between(1, 3)).map(|n| issuer.issue("sim", format!("u{n}"))).collect::<Result<_, _>>()?;
    let mut acts = Vec::new();
    for number in 0..rng.between(2, 6) {
        let at = Duration::from_millis(rng.below(15_000));
        let owner = usize::try_from(rng.below(users.len() as u64)).unwrap_or(0);
        let key = (users[owner].clone(), RunId::new(format!("r{number}"))?);
        let thread = ThreadId::new(format!("t{}", rng.below(3)))?;
        if rng.chance(200) {
            // Perhaps before the run is there.
            let before_or_after =
                (at + Duration::from_millis(rng.below(12_000))).saturating_sub(Duration::from_secs(2));
            acts.push((before_or_after, Act::Cancel(key.clone())));
        }
        acts.push((at, Act::Submit(key, thread, Plan::draw(rng))));
    }
    Ok(acts)
}

fn troubles(rng: &Rng, nodes: u64) -> Vec<(Duration, Act)> {
    let mut acts = Vec::new();
    for _ in 0..rng.below(8) {
        let (node, at) = (rng.below(nodes), Duration::from_millis(rng.below(25_000)));
        let lasts = Duration::from_millis(rng.between(100, 9_000));
        let condition = match rng.below(12) {
            0..4 => Condition::Crashed,
            4..6 => Condition::Refused,
            6..9 => Condition::Hung,
            9 => Condition::Slow(Duration::from_millis(rng.between(10, 900))),
            _ => {
                acts.extend([(at, Act::Drain(node)), (at + lasts, Act::Restart(node))]);
                continue;
            }
        };
        let after =
            if condition == Condition::Crashed { Act::Restart(node) } else { Act::Befall(node, Condition::Fine) };
        acts.extend([(at, Act::Befall(node, condition)), (at + lasts, after)]);
    }
    acts
}

/// Stops what waits for ever, when it had time enough to come there.
async fn tidy_up(cluster: Arc<Cluster>, wishes: Arc<Mutex<Wishes>>) {
    let waiting: Vec<(Key, u64)> = {
        let wishes = lock(&wishes);
        let forever = wishes.plans.iter().filter(|(_, plan)| plan.never_ends());
        forever.map(|(key, plan)| (key.clone(), plan.millis())).collect()
    };
    let longest = waiting.iter().map(|(_, millis)| *millis).max().unwrap_or(0);
    if !waiting.is_empty() {
        tokio::time::sleep(Duration::from_millis(longest) + SLACK / 4).await;
    }
    for (key, _) in waiting {
        lock(&wishes).stops.entry(key.clone()).or_default();
        people::cancel(Arc::clone(&cluster), Arc::clone(&wishes), key).await;
    }
}

/// Runs that have not ended, in words, and those that were not even accepted.
fn open_runs(cluster: &Cluster) -> Vec<String> {
    let book = lock(&cluster.world.book);
    let open = book.runs.iter().filter(|(_, run)| run.standing != Standing::Ended);
    open.map(|((scope, run), entry)| format!("{run} of {} is {:?}", scope.user(), entry.standing)).collect()
}
