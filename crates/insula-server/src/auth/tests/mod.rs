//! What authentication promises, tried as a whole; and what its other tests stand on.

mod keys;
mod sockets;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{Clock, ScopeIssuer, SystemClock, Timestamp, UserScope};
use insula_infra::{Error as StoreError, KeyRecord, KeyStore, MemoryBackend, Page, PageRequest};

use super::*;

pub(super) fn scope_of(user: &str) -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "a test says who its users are")]
    let issuer = ScopeIssuer::new();
    issuer.issue("acme", user).expect("a name")
}

pub(super) fn ada() -> UserScope {
    scope_of("ada")
}

pub(super) fn principal_of(user: &str) -> Principal {
    Principal {
        scope: scope_of(user),
        roles: Roles::of(&[Role::User]),
        access: Access::Write,
        credential: Credential::Token { subject: user.to_owned(), id: None },
        expires_at: None,
    }
}

pub(super) fn record_with(grants: &[String]) -> KeyRecord {
    KeyRecord {
        id: "0123456789abcdef".to_owned(),
        scope: ada(),
        name: "laptop".to_owned(),
        hash: [0; 32],
        grants: grants.to_vec(),
        created_at: Timestamp::from_micros(0),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

/// An order for a key of Ada's that may do what users may.
fn order() -> NewKey {
    NewKey {
        scope: ada(),
        name: "laptop".to_owned(),
        roles: Roles::of(&[Role::User]),
        access: Access::Write,
        expires_at: None,
    }
}

/// The memory backend's keys, counted, and behind a line that can be slow or cut.
pub(super) struct Line {
    store: Arc<dyn KeyStore>,
    is_cut: AtomicBool,
    is_slow: AtomicBool,
    reads: AtomicUsize,
    uses: AtomicUsize,
}

impl Line {
    fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let store = MemoryBackend::with(clock).into_backend().keys;
        let (is_cut, is_slow) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { store, is_cut, is_slow, reads: AtomicUsize::new(0), uses: AtomicUsize::new(0) })
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on answers are ten seconds old when they come.
    fn slow_down(&self) {
        self.is_slow.store(true, Ordering::SeqCst);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn uses(&self) -> usize {
        self.uses.load(Ordering::SeqCst)
    }

    fn open(&self) -> Result<&dyn KeyStore, StoreError> {
        match self.is_cut.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable { operation: "reading keys", component: "line", source: None }),
            false => Ok(&*self.store),
        }
    }
}

#[async_trait]
impl KeyStore for Line {
    async fn add_key(&self, key: KeyRecord) -> Result<(), StoreError> {
        self.open()?.add_key(key).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let key = self.open()?.key(id).await;
        if self.is_slow.load(Ordering::SeqCst) {
            tokio::time::sleep(10 * SECOND).await;
        }
        key
    }

    async fn keys(&self, owner: Option<&UserScope>, page: &PageRequest) -> Result<Page<KeyRecord>, StoreError> {
        let keys = self.open()?.keys(owner, page).await;
        if self.is_slow.load(Ordering::SeqCst) {
            tokio::time::sleep(10 * SECOND).await;
        }
        keys
    }

    async fn key_used(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        self.uses.fetch_add(1, Ordering::SeqCst);
        self.open()?.key_used(id, at).await
    }

    async fn revoke_key(
        &self,
        owner: Option<&UserScope>,
        id: &str,
        at: Timestamp,
    ) -> Result<Option<KeyRecord>, StoreError> {
        self.open()?.revoke_key(owner, id, at).await
    }
}

/// An authenticator in virtual time, and the store below it, which another process may use as well.
struct Gate {
    auth: Authenticator,
    line: Arc<Line>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// To be made in a runtime whose time is paused: the clock goes with the timers.
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let line = Line::new(Arc::clone(&clock));
        let auth = Authenticator::builder(Arc::clone(&line) as _).clock(Arc::clone(&clock)).build();
        Self { auth: auth.expect("there are no keys for tokens that could be wrong"), line, clock }
    }

    async fn mint(&self, order: NewKey) -> MintedKey {
        self.auth.mint(order).await.expect("the store is up")
    }

    async fn enter(&self, key: &MintedKey) -> Result<Principal, Refused> {
        self.auth.authenticate(key.shown.expose()).await
    }

    /// What another process on the same database does.
    async fn revoke_elsewhere(&self, key: &MintedKey) {
        let revoked = self.line.store.revoke_key(None, &key.record.id, self.clock.now()).await;
        assert!(revoked.expect("the store is up").is_some());
    }

    async fn stored(&self, key: &MintedKey) -> KeyRecord {
        self.line.store.key(&key.record.id).await.expect("the store is up").expect("it is there")
    }
}

fn is_refused(answer: &Result<Principal, Refused>) -> bool {
    matches!(answer, Err(Refused::Credential))
}

const SECOND: Duration = Duration::from_secs(1);
