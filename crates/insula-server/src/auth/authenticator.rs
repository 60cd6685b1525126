//! All of authentication together, as the rest of the server sees it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use insula_context::{Clock, ScopeIssuer, SystemClock, UserScope};
use insula_infra::{KeyRecord, KeyStore};

use super::{
    bearer::{self, Presented},
    care::Keys,
    error::{Error, Refused},
    jwt::{JwtRules, Tokens},
    keys::{MintedKey, NewKey},
    principal::Principal,
    roles::Role,
    ticket::{Ticket, Tickets},
    validity::Validity,
};

/// Says who is calling. Cheap to clone; all clones are one.
///
/// While a credential is being watched, or the use of a key waits to be written, one task runs, which ends with the last
/// clone.
#[derive(Debug, Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    keys: Arc<Keys>,
    tokens: Option<Tokens>,
    tickets: Mutex<Tickets>,
    issuer: ScopeIssuer,
    clock: Arc<dyn Clock>,
}

/// Puts an [`Authenticator`] together.
#[derive(Debug)]
#[must_use]
pub struct AuthenticatorBuilder {
    keys: KeysOf,
    clock: Arc<dyn Clock>,
    jwt: Option<JwtRules>,
}

struct KeysOf(Arc<dyn KeyStore>);

impl fmt::Debug for KeysOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStore")
    }
}

impl AuthenticatorBuilder {
    /// Another clock than the machine's.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Accepts JWTs as well.
    pub fn jwt(self, rules: JwtRules) -> Self {
        Self { jwt: Some(rules), ..self }
    }

    /// Checks the keys for tokens. Asks nobody: a set of keys at a URL is fetched when the first token comes.
    ///
    /// # Errors
    /// [`Error::TokenKey`] when a key for tokens cannot be used.
    pub fn build(self) -> Result<Authenticator, Error> {
        let tokens = self.jwt.map(|rules| Tokens::new(rules, Arc::clone(&self.clock))).transpose()?;
        #[expect(clippy::disallowed_methods, reason = "this is the place that authenticates callers")]
        let issuer = ScopeIssuer::new();
        let keys = Keys::new(self.keys.0, Arc::clone(&self.clock));
        Ok(Authenticator(Arc::new(Inner { keys, tokens, tickets: Mutex::default(), issuer, clock: self.clock })))
    }
}

impl Authenticator {
    /// Begins with the store of the API keys.
    pub fn builder(keys: Arc<dyn KeyStore>) -> AuthenticatorBuilder {
        AuthenticatorBuilder { keys: KeysOf(keys), clock: Arc::new(SystemClock::new()), jwt: None }
    }

    /// Says whose credential this is: what stood after `Bearer` in the header, see [`bearer::of_header`].
    ///
    /// # Errors
    /// [`Refused::Credential`] when it is worth nothing, for whatever reason; [`Refused::Unavailable`] when that cannot be
    /// found out now.
    ///
    /// # Cancellation safety
    /// May be dropped at any time.
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal, Refused> {
        match bearer::parse(bearer) {
            Some(Presented::Key { id, secret }) => self.0.keys.admit(id, secret).await,
            Some(Presented::Token(token)) => self.admit_token(token).await,
            None => {
                tracing::debug!(why = "malformed", "a credential was refused");
                Err(Refused::Credential)
            }
        }
    }

    async fn admit_token(&self, token: &str) -> Result<Principal, Refused> {
        let Some(tokens) = &self.0.tokens else {
            tracing::debug!(why = "no issuer is trusted", "a token was refused");
            return Err(Refused::Credential);
        };
        tokens.admit(token, &self.0.issuer).await
    }

    /// Watches the credential, for whoever keeps a connection open for it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn watch(&self, principal: &Principal) -> Validity {
        let revoked = principal.key_id().map(|id| self.0.keys.watch(id));
        Validity::new(principal.expires_at, revoked, Arc::clone(&self.0.clock))
    }

    /// Makes an API key. Durable when it returns.
    ///
    /// Whether whoever ordered it may have it is decided before: see [`NewKey::like`].
    ///
    /// # Errors
    /// When the order makes no sense, or the store does not take it.
    pub async fn mint(&self, order: NewKey) -> Result<MintedKey, Error> {
        self.0.keys.mint(order).await
    }

    /// As [`mint`](Self::mint), where nobody has a key yet: without one there is no way in. `None` when there is any key. Of
    /// several nodes that ask at once on one store, one alone is given it.
    ///
    /// # Errors
    /// As there.
    pub async fn mint_first(&self, order: NewKey) -> Result<Option<MintedKey>, Error> {
        self.0.keys.mint_first(order).await
    }

    /// Makes an API key worthless, of this owner or whosever it is, and says how it stands then; `None` when there is no such
    /// key, or it is another owner's. In this process it counts at once, and whoever watches the key is told; in others on the
    /// same store within about a second.
    ///
    /// # Errors
    /// When the store does not answer.
    ///
    /// # Cancellation safety
    /// When it is dropped, the key may have been revoked or not. If it has, this process notices as late as the others.
    pub async fn revoke(&self, owner: Option<&UserScope>, id: &str) -> Result<Option<KeyRecord>, Error> {
        self.0.keys.revoke(owner, id).await
    }

    /// Makes a ticket that lets in whoever this is, once, within [`LIFETIME`](super::ticket::LIFETIME).
    pub fn ticket(&self, principal: &Principal) -> Ticket {
        self.tickets().issue(principal, self.0.clock.now())
    }

    /// Takes a ticket. `None` when there is no such one, it was taken before or has expired, or the credential that it was
    /// made with has.
    pub fn redeem(&self, ticket: &str) -> Option<Principal> {
        let now = self.0.clock.now();
        let principal = self.tickets().redeem(ticket, now)?;
        let is_revoked = principal.key_id().is_some_and(|id| self.0.keys.is_worthless(id));
        (!is_revoked && !principal.has_expired(now)).then_some(principal)
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scope of somebody whom an admin names.
    ///
    /// # Errors
    /// [`Error::NotAdmin`] when this is none, [`Error::Name`] when nobody can be called that.
    pub fn scope_of(&self, by: &Principal, tenant: &str, user: &str) -> Result<UserScope, Error> {
        if !by.roles.has(Role::Admin) {
            return Err(Error::NotAdmin);
        }
        self.0.issuer.issue(tenant, user).map_err(Error::Name)
    }

    /// Writes when keys were last used, as far as it is not written yet. To be called when the process ends.
    pub async fn flush(&self) {
        self.0.keys.write_uses().await;
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("keys", &self.keys).field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
