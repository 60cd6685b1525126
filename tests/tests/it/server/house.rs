//! The real server on a port of its own, over an island's engine.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use insula_context::{Clock, UserScope};
use insula_engine::Limits;
use insula_server::{
    Plans, Server, Settings,
    auth::{Access, Authenticator, JwtKey, JwtRules, MintedKey, NewKey, Rate, RateRules, Role, Roles, Secret},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{socket::Socket, web::Caller};
use crate::support::Island;

/// What tokens of the trusted issuer are signed with.
pub(super) const ISSUER: &str = "what the issuer and this server share";

/// A server that is listening, and what is behind it.
pub(super) struct House {
    pub(super) island: Island,
    pub(super) address: SocketAddr,
    pub(super) auth: Authenticator,
    server: Server,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<usize>,
}

impl House {
    /// With the settings of the binary.
    pub(super) async fn open(island: Island) -> Self {
        Self::with(island, |_| {}).await
    }

    /// With others.
    pub(super) async fn with(island: Island, change: impl FnOnce(&mut Settings)) -> Self {
        let plans = Plans::load(Arc::clone(&island.ports().plans)).await.unwrap();
        let mut everybody = Limits::default();
        let island = island.limits(|limits| everybody = limits.clone()).plans(plans.limits_of(everybody));
        let auth = door(&island, None);
        let mut settings = Settings::default();
        change(&mut settings);
        let server = Server::builder(island.factory().clone(), auth.clone()).settings(settings).rates(boundless());
        let server = server.plans(plans).build();
        let listener = insula_server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.clone().serve(listener, None, async {
            // Whoever drops the other half wants nothing.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { island, address, auth, server, stop: Some(stop), serving }
    }

    /// Asks it to end, and returns at once.
    pub(super) fn ask_to_end(&mut self) {
        self.stop.take().expect("it is asked once").send(()).unwrap();
    }

    /// Waits for its end; how many runs it left to others.
    pub(super) async fn ended(&mut self) -> usize {
        (&mut self.serving).await.unwrap()
    }

    /// A key of this user that may do what users may.
    pub(super) async fn key(&self, scope: &UserScope) -> String {
        self.mint(scope, &[Role::User], Access::Write).await.shown.expose().to_owned()
    }

    pub(super) async fn mint(&self, scope: &UserScope, roles: &[Role], access: Access) -> MintedKey {
        mint(&self.auth, scope, roles, access, None).await
    }

    /// A key that was worth something until a moment ago.
    pub(super) async fn expired_key(&self, scope: &UserScope) -> String {
        let hour = std::time::Duration::from_secs(3_600);
        let yesterday = crate::support::ShiftedClock::behind(2 * hour);
        let until = yesterday.now().plus(hour);
        let auth = door(&self.island, Some(yesterday));
        mint(&auth, scope, &[Role::User], Access::Write, Some(until)).await.shown.expose().to_owned()
    }

    /// Whoever shows this credential.
    pub(super) fn caller(&self, bearer: impl Into<String>) -> Caller {
        Caller::new(self.address, Some(bearer.into()))
    }

    /// A user with a fresh key.
    pub(super) async fn user(&self, name: &str) -> Caller {
        let scope = self.island.user(name);
        self.caller(self.key(&scope).await)
    }

    /// Somebody without any credential.
    pub(super) fn nobody(&self) -> Caller {
        Caller::new(self.address, None)
    }

    /// A socket of whoever this is.
    pub(super) async fn socket(&self, of: &Caller) -> Socket {
        Socket::open(self.address, of.bearer()).await.expect("it is let in")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.server.close();
        self.serving.abort();
    }
}

async fn mint(
    auth: &Authenticator,
    scope: &UserScope,
    roles: &[Role],
    access: Access,
    expires_at: Option<insula_context::Timestamp>,
) -> MintedKey {
    let (scope, roles) = (scope.clone(), Roles::of(roles));
    auth.mint(NewKey { scope, name: "a test's".to_owned(), roles, access, expires_at }).await.unwrap()
}

fn door(island: &Island, clock: Option<Arc<dyn Clock>>) -> Authenticator {
    let secret = JwtKey::Secret { kid: None, secret: Secret::new(ISSUER) };
    let builder = Authenticator::builder(Arc::clone(&island.ports().keys)).jwt(JwtRules::new(vec![secret]));
    let builder = match clock {
        Some(clock) => builder.clock(clock),
        None => builder,
    };
    builder.build().unwrap()
}

/// These suites ask more often than anybody may.
fn boundless() -> RateRules {
    let rate = Rate::per_second(NonZeroU32::new(1_000_000).unwrap(), NonZeroU32::MAX);
    let mut rules = RateRules::default();
    (rules.user, rules.address, rules.failures) = (rate, rate, rate);
    rules
}
