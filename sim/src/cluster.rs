//! Several nodes in one process, on one store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use insula_context::SeededIds;
use insula_engine::{AgentThreads, ExecutionEngineFactory, Limits};
use insula_infra::{Backend, MemoryBackend, WorkerId};

use crate::{
    actor,
    layer::{self, Heard, Hub},
    link::{Condition, Link, Odds},
    mutants::Mutant,
    world::{SkewedClock, World, lock},
};

/// Short enough that a node that stands still loses its runs within the virtual minute of a seed.
pub const LEASE: Duration = Duration::from_secs(3);

/// A node as it is now.
struct Node {
    incarnation: u64,
    ahead_micros: i64,
    link: Arc<Link>,
    /// Nothing, while it is down.
    factory: Option<ExecutionEngineFactory>,
}

/// All nodes and what they stand on.
pub struct Cluster {
    /// The shared world.
    pub world: Arc<World>,
    /// The store itself, with nothing in between.
    pub store: Backend,
    /// What the nodes take for the store.
    below: Backend,
    odds: Odds,
    mutant: Option<Mutant>,
    hub: Hub,
    nodes: Mutex<Vec<Node>>,
}

impl Cluster {
    /// `nodes` fresh nodes.
    ///
    /// # Errors
    /// When the class of agents does not fit, which it does.
    pub fn new(world: Arc<World>, nodes: u64, odds: Odds, mutant: Option<Mutant>) -> Result<Self> {
        let store = MemoryBackend::with(Arc::new(world.clock())).into_backend();
        let below = Mutant::below(mutant, &store);
        let cluster = Self { world, store, below, odds, mutant, hub: Hub::default(), nodes: Mutex::default() };
        for number in 0..nodes {
            let ahead = i64::try_from(cluster.world.rng.below(20_000_000)).unwrap_or(0) - 10_000_000;
            let node = cluster.node(number, 0, ahead)?;
            lock(&cluster.nodes).push(node);
        }
        Ok(cluster)
    }

    fn node(&self, number: u64, incarnation: u64, ahead_micros: i64) -> Result<Node> {
        let worker = WorkerId::new(format!("n{number}.{incarnation}"));
        let link = Link::new(worker.clone(), Arc::clone(&self.world), self.odds);
        let heard = Arc::new(Heard::default());
        lock(&self.hub).push((Arc::clone(&link), Arc::clone(&heard)));
        let backend = Mutant::above(self.mutant, layer::behind(&link, &self.below, heard, Arc::clone(&self.hub)));
        let rng = &self.world.rng;
        let limits = Limits {
            lease: LEASE,
            claimed: usize::try_from(rng.between(2, 12)).unwrap_or(2),
            running: usize::try_from(rng.between(2, 8)).unwrap_or(2),
            grace: Duration::from_millis(100),
            park_after: Duration::from_millis(rng.between(20, 2_000)),
            ..Limits::default()
        };
        let factory = ExecutionEngineFactory::builder(actor::classes(&link)?, backend)
            .tools(actor::tools(&link, self.mutant))
            .limits(limits)
            .agent_threads(AgentThreads::Runtime)
            .clock(Arc::new(SkewedClock::new(self.world.clock(), ahead_micros)))
            .ids(Arc::new(SeededIds::new(rng.below(u64::MAX))))
            .worker(worker)
            .build();
        factory.work();
        Ok(Node { incarnation, ahead_micros, link, factory: Some(factory) })
    }

    /// How many nodes there are, up or down.
    pub fn len(&self) -> u64 {
        lock(&self.nodes).len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every factory that is up.
    pub fn factories(&self) -> Vec<ExecutionEngineFactory> {
        lock(&self.nodes).iter().filter_map(|node| node.factory.clone()).collect()
    }

    /// One of the factories that are up; `None` while all are down.
    pub fn any(&self) -> Option<ExecutionEngineFactory> {
        let up = self.factories();
        let place = usize::try_from(self.world.rng.below(up.len() as u64)).unwrap_or(0);
        up.get(place).cloned()
    }

    /// A node is like this from now on.
    pub fn set(&self, number: u64, condition: Condition) {
        let mut nodes = lock(&self.nodes);
        let Some(node) = nodes.get_mut(usize::try_from(number).unwrap_or(0)) else { return };
        if condition == Condition::Crashed {
            node.factory = None;
        }
        node.link.set(condition);
        node.link.note("node", &format!("{condition:?}"));
    }

    /// A node is shut down: it accepts nothing more, and what it has is handed over.
    pub fn drain(&self, number: u64) {
        let mut nodes = lock(&self.nodes);
        let Some(node) = nodes.get_mut(usize::try_from(number).unwrap_or(0)) else { return };
        let Some(factory) = node.factory.take() else { return };
        let (link, grace) = (Arc::clone(&node.link), Duration::from_millis(self.world.rng.below(1_500)));
        link.note("node", "drains");
        tokio::spawn(async move {
            factory.shutdown(grace).await;
            link.set(Condition::Crashed);
            link.note("node", "is drained");
        });
    }

    /// A node that is down comes back under a new name, with nothing that it knew.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn restart(&self, number: u64) -> Result<()> {
        let place = usize::try_from(number).unwrap_or(0);
        let down = lock(&self.nodes)
            .get(place)
            .filter(|node| node.factory.is_none())
            .map(|node| (node.incarnation, node.ahead_micros));
        if let Some((incarnation, ahead_micros)) = down {
            let node = self.node(number, incarnation + 1, ahead_micros)?;
            lock(&self.nodes)[place] = node;
        }
        Ok(())
    }

    /// Everything is well from now on.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn heal(&self) -> Result<()> {
        self.world.heal();
        for number in 0..self.len() {
            self.set(number, Condition::Fine);
            self.restart(number)?;
        }
        Ok(())
    }

    /// The end of the simulation: nothing that is still there does anything more.
    pub fn stop(&self) {
        for (link, _) in &*lock(&self.hub) {
            link.set(Condition::Crashed);
        }
        lock(&self.nodes).clear();
    }
}
