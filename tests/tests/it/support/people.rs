//! Users, and the contexts in which they ask. Every context has a thread and a run of its own unless told otherwise.

use insula_context::{RandomIds, RunId, ScopeIssuer, ThreadId, UserExecutionContext, UserScope};

/// One user of the tenant `acme`. The same name is the same user.
pub(crate) fn user(name: &str) -> UserScope {
    user_of("acme", name)
}

/// One user of any tenant.
pub(crate) fn user_of(tenant: &str, name: &str) -> UserScope {
    ScopeIssuer::new().issue(tenant, name).unwrap()
}

/// `n` users: `user-0`, `user-1`, …
pub(crate) fn users(n: usize) -> Vec<UserScope> {
    (0..n).map(|n| user(&format!("user-{n}"))).collect()
}

/// A context with a fresh thread and a fresh run.
pub(crate) fn context(scope: &UserScope) -> UserExecutionContext {
    context_in(scope, &ThreadId::generate(&RandomIds))
}

/// A context with a fresh run in this thread.
pub(crate) fn context_in(scope: &UserScope, thread: &ThreadId) -> UserExecutionContext {
    UserExecutionContext::builder(scope.clone(), thread.clone(), RunId::generate(&RandomIds)).build().unwrap()
}
