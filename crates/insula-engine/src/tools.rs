//! Which tools and permissions each user has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use insula_agent::Tool;
use insula_context::UserScope;

/// Answers which tools a user has, and what the user may do.
pub trait ToolCatalog: Send + Sync {
    /// The tool of this name, if this user has it.
    fn tool(&self, scope: &UserScope, name: &str) -> Option<Arc<dyn Tool>>;
    /// The names of this user's tools, sorted.
    fn names(&self, scope: &UserScope) -> Vec<String>;
    /// Whether the user has a permission.
    fn permits(&self, scope: &UserScope, permission: &str) -> bool;
    /// Whether the user's tool of this name is the user's alone. What such a tool depends on is not what another user's
    /// tool of the same name depends on, unless both say so.
    fn is_own(&self, scope: &UserScope, name: &str) -> bool {
        let (_, _) = (scope, name);
        false
    }
}

/// Tools that are known when the engine is built: some for everybody, some for one user.
///
/// ```
/// use insula_agent::kit;
/// use insula_engine::{ToolCatalog, Tools};
/// # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
/// # let issuer = insula_context::ScopeIssuer::new();
/// # let (ada, bob) = (issuer.issue("acme", "ada").unwrap(), issuer.issue("acme", "bob").unwrap());
///
/// let tools = Tools::new().with_for(ada.clone(), kit::tally()).grant(ada.clone(), "billing");
/// assert_eq!(tools.names(&ada), ["tally"]);
/// assert!(tools.tool(&bob, "tally").is_none());
/// ```
#[derive(Default, Clone)]
pub struct Tools {
    shared: BTreeMap<String, Arc<dyn Tool>>,
    own: HashMap<UserScope, BTreeMap<String, Arc<dyn Tool>>>,
    grants: HashMap<UserScope, HashSet<String>>,
}

impl Tools {
    /// No tools, no permissions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool for everybody. A later one of the same name replaces it.
    #[must_use]
    pub fn with(self, tool: impl Tool + 'static) -> Self {
        self.with_arc(Arc::new(tool))
    }

    /// Adds a shared tool for everybody.
    #[must_use]
    pub fn with_arc(mut self, tool: Arc<dyn Tool>) -> Self {
        self.shared.insert(tool.spec().name.clone(), tool);
        self
    }

    /// Adds a tool for one user, who gets it instead of a shared one of the same name. For others it does not exist.
    #[must_use]
    pub fn with_for(mut self, scope: UserScope, tool: impl Tool + 'static) -> Self {
        let tool: Arc<dyn Tool> = Arc::new(tool);
        self.own.entry(scope).or_default().insert(tool.spec().name.clone(), tool);
        self
    }

    /// Gives a user a permission.
    #[must_use]
    pub fn grant(mut self, scope: UserScope, permission: impl Into<String>) -> Self {
        self.grants.entry(scope).or_default().insert(permission.into());
        self
    }
}

impl ToolCatalog for Tools {
    fn tool(&self, scope: &UserScope, name: &str) -> Option<Arc<dyn Tool>> {
        let own = self.own.get(scope).and_then(|tools| tools.get(name));
        own.or_else(|| self.shared.get(name)).cloned()
    }

    fn names(&self, scope: &UserScope) -> Vec<String> {
        let own = self.own.get(scope).into_iter().flat_map(BTreeMap::keys);
        own.chain(self.shared.keys()).collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    fn permits(&self, scope: &UserScope, permission: &str) -> bool {
        self.grants.get(scope).is_some_and(|granted| granted.contains(permission))
    }

    fn is_own(&self, scope: &UserScope, name: &str) -> bool {
        self.own.get(scope).is_some_and(|tools| tools.contains_key(name))
    }
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").field("shared", &self.shared.keys()).field("users", &self.own.len()).finish()
    }
}
