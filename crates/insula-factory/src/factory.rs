//! Class and context in, instance out.

use std::sync::Arc;

use insula_agent::InstanceMarker;
use insula_context::{IdSource, UserExecutionContext, UserScope};
use insula_registry::{AgentClass, AgentClassRegistry, Dependency};

use crate::{AgentInstance, Error, IsolationReport, LiveInstance, live::LiveTable};

/// What this installation can give to a class.
pub trait Availability: Send + Sync {
    /// Whether this user has what a class needs.
    fn has(&self, scope: &UserScope, need: &Dependency) -> bool;
}

/// Says yes to every need: for tests and for classes that declare none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everything;

impl Availability for Everything {
    fn has(&self, _: &UserScope, _: &Dependency) -> bool {
        true
    }
}

/// Makes instances and counts them while they live. A clone is the same factory.
#[derive(Clone)]
pub struct AgentInstanceFactory {
    registry: AgentClassRegistry,
    ids: Arc<dyn IdSource>,
    available: Arc<dyn Availability>,
    table: Arc<LiveTable>,
}

impl AgentInstanceFactory {
    /// A factory for the classes of a registry.
    pub fn new(registry: AgentClassRegistry, ids: Arc<dyn IdSource>, available: Arc<dyn Availability>) -> Self {
        Self { registry, ids, available, table: Arc::default() }
    }

    /// The classes that it makes instances of.
    pub fn registry(&self) -> &AgentClassRegistry {
        &self.registry
    }

    /// The class of this name, once everything that it needs is there for this owner.
    ///
    /// # Errors
    /// [`Error::Class`] when there is none, [`Error::Unavailable`] naming the class and what it lacks.
    pub fn check(&self, class: &str, scope: &UserScope) -> Result<&Arc<AgentClass>, Error> {
        let class = self.registry.lookup(class)?;
        match class.dependencies().find(|need| !self.provides(scope, need)) {
            Some(needs) => Err(Error::Unavailable { class: class.name().to_string(), needs: needs.clone() }),
            None => Ok(class),
        }
    }

    /// A fresh instance of a class, bound to the owner of the context.
    ///
    /// # Errors
    /// As [`AgentInstanceFactory::check`]; then nothing was constructed.
    pub fn create(&self, class: &str, context: &UserExecutionContext) -> Result<AgentInstance, Error> {
        let class = self.check(class, context.scope())?;
        Ok(self.create_of(class, context))
    }

    /// A fresh instance of a class that was checked already, or that is not in the registry.
    pub fn create_of(&self, class: &Arc<AgentClass>, context: &UserExecutionContext) -> AgentInstance {
        let agent = class.construct();
        let marker = InstanceMarker::new(self.ids.random());
        let entry = self.table.enter(marker, context.clone(), Arc::clone(class));
        AgentInstance::new(agent, entry, Arc::clone(&self.table))
    }

    /// How many instances exist now.
    pub fn live(&self) -> usize {
        self.table.live()
    }

    /// How many were ever made.
    pub fn made(&self) -> u64 {
        self.table.made()
    }

    /// The instances of one owner that exist now.
    pub fn instances_of(&self, scope: &UserScope) -> Vec<LiveInstance> {
        self.table.of_owner(scope)
    }

    /// Cleans an owner up: their instances count no more, and those that somebody still holds refuse to run. Says how
    /// many there were.
    pub fn release_user(&self, scope: &UserScope) -> usize {
        self.table.release(scope)
    }

    /// What lives now, and whether anything is where it must not be.
    pub fn isolation_report(&self) -> IsolationReport {
        self.table.report()
    }

    fn provides(&self, scope: &UserScope, need: &Dependency) -> bool {
        match need {
            Dependency::Agent(name) => self.registry.class(name).is_some(),
            need => self.available.has(scope, need),
        }
    }
}

impl std::fmt::Debug for AgentInstanceFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentInstanceFactory").field("registry", &self.registry).field("live", &self.live()).finish()
    }
}
