//! Names of keys and channels. They carry the scope, and no two scopes can make the same one.

use insula_context::UserScope;

/// What every name of one deployment begins with.
#[derive(Debug, Clone)]
pub(crate) struct Names(String);

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(prefix.split(':').map(escape).collect::<Vec<_>>().join(":"))
    }

    /// The channel on which nodes tell each other of threads.
    pub(crate) fn signals(&self) -> String {
        format!("{}:signals", self.0)
    }

    /// What all names of one owner begin with. The braces keep them on one node of a cluster, where scripts need them.
    fn owner(&self, kind: char, scope: &UserScope) -> String {
        format!("{}:{kind}:{{{}/{}}}:", self.0, escape(scope.tenant().as_str()), escape(scope.user().as_str()))
    }

    /// The three keys of the index of an owner's cache.
    pub(crate) fn index(&self, scope: &UserScope) -> [String; 3] {
        let owner = self.owner('c', scope);
        ["age", "ends", "meta"].map(|part| format!("{owner}{part}"))
    }

    /// What names of an owner's cached values begin with; the rest is the key as it is.
    pub(crate) fn values(&self, scope: &UserScope) -> String {
        self.owner('c', scope) + "v:"
    }

    pub(crate) fn window(&self, scope: &UserScope, limit: &str) -> String {
        self.owner('q', scope) + limit
    }

    pub(crate) fn channel(&self, scope: &UserScope, channel: &str) -> String {
        self.owner('p', scope) + channel
    }
}

/// Letters, digits, `-`, `_` and `.` stay as they are; of every other byte the number stands there.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scopes_never_make_the_same_name() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let issuer = insula_context::ScopeIssuer::new();
        let names = Names::new("insula");
        let of = |tenant: &str, user: &str| names.values(&issuer.issue(tenant, user).unwrap());
        let tricky = [("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("a}", "c"), ("a", "c}:v:"), ("a", "c"), ("ä", "c")];
        let mut made: Vec<_> = tricky.iter().map(|(tenant, user)| of(tenant, user)).collect();
        assert_eq!(made[5], "insula:c:{a/c}:v:");
        assert!(made.iter().all(|name| name.matches('{').count() == 1 && name.matches('}').count() == 1), "{made:?}");
        made.sort();
        made.dedup();
        assert_eq!(made.len(), tricky.len());
    }
}
