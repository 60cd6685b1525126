//! The store of the keys, and what is done about keys besides the requests: uses are written and keys that are being
//! watched are looked at, once a second, by one task, which is there only while there is something to do.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::future::join_all;
use insula_context::{Clock, Timestamp, UserScope};
use insula_infra::{Error as StoreError, KeyRecord, KeyStore, PageRequest};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    error::{Error, Refused},
    keyring::Keyring,
    keys::{self, KnownKey, MintedKey, NewKey},
    principal::Principal,
    secret,
};

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How many keys a look asks the store about at once.
const AT_ONCE: usize = 8;

/// The API keys as this process sees them.
pub(super) struct Keys {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    ring: Mutex<Keyring>,
    care: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Keys {
    pub(super) fn new(store: Arc<dyn KeyStore>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { store, clock, ring: Mutex::new(Keyring::new()), care: Mutex::new(None) })
    }

    fn ring(&self) -> MutexGuard<'_, Keyring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets in whoever shows both halves of a key that is worth something.
    pub(super) async fn admit(self: &Arc<Self>, id: &str, half: &str) -> Result<Principal, Refused> {
        let Some(key) = self.find(id).await? else { return Err(refused(id, "unknown, or revoked a moment ago")) };
        // The secret comes first: nobody learns anything about a key of which they have only the public half.
        if !secret::same(&key.hash, &secret::hash(half)) {
            return Err(refused(id, "wrong secret"));
        }
        let now = self.clock.now();
        if key.is_revoked {
            return Err(refused(id, "revoked"));
        }
        if key.principal.has_expired(now) {
            return Err(refused(id, "expired"));
        }
        self.note_use(id, &key, now);
        Ok(key.principal.clone())
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<KnownKey>>, Refused> {
        let asked_at = self.clock.now();
        {
            let ring = self.ring();
            if ring.is_worthless(id, asked_at) {
                return Ok(None);
            }
            if let Some(key) = ring.known(id, asked_at) {
                return Ok(Some(key));
            }
        }
        let record = self.store.key(id).await.map_err(Refused::Unavailable)?;
        let key = record.map(|record| Arc::new(KnownKey::from(record)));
        let (mut ring, now) = (self.ring(), self.clock.now());
        ring.learn(id, key.clone(), asked_at, now);
        // It may have been revoked while the store was being read.
        Ok(key.filter(|key| key.is_revoked || !ring.is_worthless(id, now)))
    }

    fn note_use(self: &Arc<Self>, id: &str, key: &KnownKey, now: Timestamp) {
        let mut ring = self.ring();
        ring.used(id, key.last_used_at, now);
        let (_, unwritten) = ring.counts();
        drop(ring);
        if unwritten > 0 {
            self.begin_care();
        }
    }

    pub(super) async fn mint(&self, order: NewKey) -> Result<MintedKey, Error> {
        let minted = keys::make(order, self.clock.now())?;
        let added = self.store.add_key(minted.record.clone()).await;
        added.map_err(|source| Error::Store { operation: "adding a key", source })?;
        Ok(minted)
    }

    /// The first key of all; `None` when there is any, also when another node makes it at this moment.
    pub(super) async fn mint_first(&self, order: NewKey) -> Result<Option<MintedKey>, Error> {
        let page = PageRequest { cursor: None, limit: 1 };
        let there = self.store.keys(None, &page).await;
        let there = there.map_err(|source| Error::Store { operation: "looking for keys", source })?;
        if !there.items.is_empty() {
            return Ok(None);
        }
        let minted = keys::make_first(order, self.clock.now())?;
        match self.store.add_key(minted.record.clone()).await {
            Ok(()) => Ok(Some(minted)),
            Err(StoreError::KeyExists { .. }) => Ok(None),
            Err(source) => Err(Error::Store { operation: "adding the first key", source }),
        }
    }

    pub(super) async fn revoke(&self, owner: Option<&UserScope>, id: &str) -> Result<Option<KeyRecord>, Error> {
        let revoked = self.store.revoke_key(owner, id, self.clock.now()).await;
        let record = revoked.map_err(|source| Error::Store { operation: "revoking a key", source })?;
        if record.is_some() {
            self.ring().revoked(id, self.clock.now());
        }
        Ok(record)
    }

    /// Whether this process knows that the key was revoked. `false` says nothing.
    pub(super) fn is_worthless(&self, id: &str) -> bool {
        self.ring().is_worthless(id, self.clock.now())
    }

    pub(super) fn watch(self: &Arc<Self>, id: &str) -> watch::Receiver<bool> {
        let told = self.ring().watch(id, self.clock.now());
        self.begin_care();
        told
    }

    /// Sees to it that the task is there.
    fn begin_care(self: &Arc<Self>) {
        let mut care = self.care.lock().unwrap_or_else(PoisonError::into_inner);
        if care.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            *care = Some(AbortOnDropHandle::new(tokio::spawn(take_care(Arc::downgrade(self)))));
        }
    }

    /// Ends the task, when there is nothing to do for it. Under the lock of [`Self::begin_care`], so that what comes at the
    /// same time either is seen here or starts the task anew.
    fn ends_care(&self) -> bool {
        let mut care = self.care.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = self.ring().is_quiet();
        if is_over && let Some(task) = care.take() {
            // It is the one that is asking, and returns by itself.
            task.detach();
        }
        is_over
    }

    /// Writes the uses that were noted. What the store does not take is noted again with a later request.
    pub(super) async fn write_uses(&self) {
        let (uses, mut failure) = (self.ring().take_unwritten(), None);
        for some in uses.chunks(AT_ONCE) {
            let written = join_all(some.iter().map(|(id, at)| self.store.key_used(id, *at))).await;
            failure = written.into_iter().find_map(Result::err).or(failure);
        }
        if let Some(error) = failure {
            tracing::warn!(%error, "when keys were last used could not be written");
        }
    }

    /// Asks the store about the keys that are being watched. While it does not answer, they stay as they are.
    async fn look(&self) {
        let (ids, mut failure) = (self.ring().watched(), None);
        for some in ids.chunks(AT_ONCE) {
            let looked = join_all(some.iter().map(|id| self.look_at(id))).await;
            failure = looked.into_iter().find_map(Result::err).or(failure);
        }
        if let Some(error) = failure {
            tracing::warn!(%error, "keys that are in use could not be looked at");
        }
    }

    async fn look_at(&self, id: &str) -> Result<(), insula_infra::Error> {
        let asked_at = self.clock.now();
        let record = self.store.key(id).await?;
        let key = record.map(|record| Arc::new(KnownKey::from(record)));
        self.ring().learn(id, key, asked_at, self.clock.now());
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn is_being_taken_care_of(&self) -> bool {
        self.care.lock().expect("no test panics while it holds it").is_some()
    }
}

/// Holds the keys only while it looks, so that it ends with them.
async fn take_care(keys: Weak<Keys>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(keys) = keys.upgrade() else { return };
        keys.write_uses().await;
        keys.look().await;
        if keys.ends_care() {
            return;
        }
    }
}

fn refused(id: &str, why: &'static str) -> Refused {
    tracing::debug!(key = id, why, "a key was refused");
    Refused::Credential
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (watched, unwritten) = self.ring().counts();
        f.debug_struct("Keys").field("watched", &watched).field("unwritten", &unwritten).finish_non_exhaustive()
    }
}
