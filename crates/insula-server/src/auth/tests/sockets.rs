//! Credentials of connections that stay open, and tickets.

use std::future::Future;

use super::*;

/// Whether it is over by the time that everything else has come to rest, without time going on.
async fn is_over_now(validity: &mut Validity) -> bool {
    tokio::time::timeout(Duration::ZERO, validity.over()).await.is_ok()
}

async fn after(gate: &Gate, waiting: impl Future<Output = ()>) -> Duration {
    let begun = gate.clock.now();
    tokio::time::timeout(60 * SECOND, waiting).await.expect("it is over within a minute");
    gate.clock.now().since(begun)
}

#[tokio::test(start_paused = true)]
async fn a_revocation_wakes_everybody_who_watches_the_key_and_nobody_else() {
    let gate = Gate::new();
    let (key, other) = (gate.mint(order()).await, gate.mint(order()).await);
    let principal = gate.enter(&key).await.expect("it is a good key");
    let mut watching = [gate.auth.watch(&principal), gate.auth.watch(&principal)];
    let mut aside = gate.auth.watch(&gate.enter(&other).await.expect("it is a good key"));
    for validity in &mut watching {
        assert!(!is_over_now(validity).await);
    }

    let [one, two] = &mut watching;
    let waited = after(&gate, async {
        tokio::join!(one.over(), two.over(), async {
            gate.auth.revoke(None, &key.record.id).await.expect("the store is up");
        });
    });
    assert_eq!(waited.await, Duration::ZERO);
    assert!(!is_over_now(&mut aside).await);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_by_another_process_wakes_within_the_look() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let mut validity = gate.auth.watch(&gate.enter(&key).await.expect("it is a good key"));
    tokio::time::sleep(10 * SECOND).await;
    assert!(!is_over_now(&mut validity).await);
    gate.revoke_elsewhere(&key).await;
    assert!(after(&gate, validity.over()).await <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_watch_a_key_that_was_revoked_is_told_at_once() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let principal = gate.enter(&key).await.expect("it is a good key");
    gate.auth.revoke(None, &key.record.id).await.expect("the store is up");
    assert!(is_over_now(&mut gate.auth.watch(&principal)).await);

    let elsewhere = gate.mint(order()).await;
    let principal = gate.enter(&elsewhere).await.expect("it is a good key");
    gate.revoke_elsewhere(&elsewhere).await;
    assert!(after(&gate, gate.auth.watch(&principal).over()).await <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_expires_is_over_when_it_does() {
    let gate = Gate::new();
    let key = gate.mint(NewKey { expires_at: Some(gate.clock.now().plus(10 * SECOND)), ..order() }).await;
    let mut validity = gate.auth.watch(&gate.enter(&key).await.expect("it is a good key"));
    assert_eq!(after(&gate, validity.over()).await, 10 * SECOND);
    assert!(is_over_now(&mut validity).await);

    let token = Principal { expires_at: Some(gate.clock.now().plus(5 * SECOND)), ..principal_of("ada") };
    assert_eq!(after(&gate, gate.auth.watch(&token).over()).await, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_closes_nothing() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let mut validity = gate.auth.watch(&gate.enter(&key).await.expect("it is a good key"));
    gate.line.cut();
    tokio::time::sleep(10 * SECOND).await;
    assert!(!is_over_now(&mut validity).await);
    gate.revoke_elsewhere(&key).await;
    gate.line.mend();
    assert!(after(&gate, validity.over()).await <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn many_watchers_of_one_key_are_one_read_a_second() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let principal = gate.enter(&key).await.expect("it is a good key");
    let watching: Vec<_> = (0..1_000).map(|_| gate.auth.watch(&principal)).collect();
    let before = gate.line.reads();
    tokio::time::sleep(10 * SECOND + SECOND / 2).await;
    assert_eq!(gate.line.reads() - before, 10);
    drop(watching);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_when_nobody_watches() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let line = Line::new(Arc::clone(&clock));
    let keys = care::Keys::new(Arc::clone(&line) as _, clock);
    let key = keys.mint(order()).await.expect("the store is up");
    assert!(!keys.is_being_taken_care_of());

    let watching = keys.watch(&key.record.id);
    tokio::time::sleep(5 * SECOND).await;
    assert!(keys.is_being_taken_care_of());
    drop(watching);
    tokio::time::sleep(2 * SECOND).await;
    assert!(!keys.is_being_taken_care_of());

    let (reads, mut again) = (line.reads(), keys.watch(&key.record.id));
    tokio::time::sleep(5 * SECOND).await;
    assert!(line.reads() > reads && !*again.borrow_and_update());
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_is_told_when_the_authenticator_is_gone() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let mut validity = gate.auth.watch(&gate.enter(&key).await.expect("it is a good key"));
    let Gate { auth, line, .. } = gate;
    drop(auth);
    assert!(is_over_now(&mut validity).await);
    let reads = line.reads();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((line.reads(), Arc::strong_count(&line)), (reads, 1), "nothing is left that looks");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_lets_in_once_whoever_it_was_made_for() {
    let gate = Gate::new();
    let principal = gate.enter(&gate.mint(order()).await).await.expect("it is a good key");
    let ticket = gate.auth.ticket(&principal);
    assert_eq!(gate.auth.redeem(ticket.text.expose()), Some(principal));
    assert_eq!(gate.auth.redeem(ticket.text.expose()), None);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_worth_no_more_than_its_credential() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let ticket = gate.auth.ticket(&gate.enter(&key).await.expect("it is a good key"));
    gate.auth.revoke(None, &key.record.id).await.expect("the store is up");
    assert_eq!(gate.auth.redeem(ticket.text.expose()), None);

    let expiring = gate.mint(NewKey { expires_at: Some(gate.clock.now().plus(SECOND)), ..order() }).await;
    let ticket = gate.auth.ticket(&gate.enter(&expiring).await.expect("it is a good key"));
    tokio::time::advance(SECOND).await;
    assert_eq!(gate.auth.redeem(ticket.text.expose()), None);
}
