//! API keys at the door.

use super::*;

#[tokio::test(start_paused = true)]
async fn whoever_shows_a_key_is_its_owner_with_what_it_grants() {
    let gate = Gate::new();
    let key =
        gate.mint(NewKey { roles: Roles::of(&[Role::User, Role::Operator]), access: Access::Read, ..order() }).await;
    let principal = gate.enter(&key).await.expect("it is a good key");
    assert_eq!(principal.scope, ada());
    assert!(principal.may(Role::User, Access::Read) && principal.may(Role::Operator, Access::Read));
    assert!(!principal.may(Role::User, Access::Write) && !principal.may(Role::Admin, Access::Read));
    assert_eq!(principal.credential, Credential::Key { id: key.record.id.clone(), name: "laptop".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn a_key_has_the_form_that_is_promised_and_its_secret_is_not_stored() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let (prefix, half) = key.shown.expose().rsplit_once(&format!("{}_", key.record.id)).expect("the id is in it");
    assert_eq!((prefix, key.record.id.len(), half.len()), ("insula_", 16, 43));
    let stored = gate.stored(&key).await;
    assert_eq!(stored, key.record);
    assert!(!format!("{stored:?}").contains(half));
}

#[tokio::test(start_paused = true)]
async fn of_nodes_that_start_together_one_makes_the_first_key() {
    let gate = Gate::new();
    // Both see that there is none before either has made one.
    gate.line.slow_down();
    let (one, other) = tokio::join!(gate.auth.mint_first(order()), gate.auth.mint_first(order()));
    let made: Vec<_> = [one, other].into_iter().filter_map(|made| made.expect("the store is up")).collect();
    let [key] = &made[..] else { panic!("{} keys were made", made.len()) };
    assert!(gate.enter(key).await.is_ok());
    assert!(gate.auth.mint_first(order()).await.expect("the store is up").is_none(), "there is one");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_a_key_looks_the_same() {
    let gate = Gate::new();
    let (good, expiring, revoked) = (
        gate.mint(order()).await,
        gate.mint(NewKey { expires_at: Some(gate.clock.now().plus(SECOND)), ..order() }).await,
        gate.mint(order()).await,
    );
    assert!(gate.enter(&expiring).await.is_ok());
    gate.auth.revoke(None, &revoked.record.id).await.expect("the store is up");
    tokio::time::advance(SECOND).await;

    let (shown, other) = (good.shown.expose(), revoked.shown.expose());
    let (start, half) = shown.split_at(shown.len() - 43);
    let wrong_secret = format!("{start}{}", &other[other.len() - 43..]);
    let unknown_id = format!("insula_ffffffffffffffff_{half}");
    let cases = [
        ("nothing", ""),
        ("malformed", &shown[1..]),
        ("cut off", &shown[..shown.len() - 1]),
        ("wrong secret", &wrong_secret),
        ("unknown id", &unknown_id),
        ("expired", expiring.shown.expose()),
        ("revoked", other),
        ("a token although none is trusted", "aGk.e30.c2ln"),
    ];
    for (case, shown) in cases {
        let answer = gate.auth.authenticate(shown).await;
        assert!(is_refused(&answer), "{case}: {answer:?}");
    }
    assert!(gate.enter(&good).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_read_from_the_store_once_a_second_however_often_it_is_shown() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    for _ in 0..1_000 {
        gate.enter(&key).await.expect("it is a good key");
    }
    assert_eq!(gate.line.reads(), 1);
    tokio::time::advance(SECOND).await;
    gate.enter(&key).await.expect("it is a good key");
    assert_eq!(gate.line.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_counts_at_once_although_the_key_was_remembered() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    gate.enter(&key).await.expect("it is a good key");
    let revoked = gate.auth.revoke(Some(&ada()), &key.record.id).await.expect("the store is up");
    assert!(revoked.is_some_and(|record| record.revoked_at.is_some()));
    assert!(is_refused(&gate.enter(&key).await));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_by_another_process_counts_within_a_second() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    gate.enter(&key).await.expect("it is a good key");
    gate.revoke_elsewhere(&key).await;
    tokio::time::advance(SECOND).await;
    assert!(is_refused(&gate.enter(&key).await));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_revocation_does_not_come_back_after_it() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    gate.line.slow_down();
    let (entered, revoked) = tokio::join!(gate.enter(&key), async {
        tokio::time::sleep(SECOND).await;
        gate.auth.revoke(None, &key.record.id).await
    });
    assert!(revoked.is_ok_and(|record| record.is_some()));
    assert!(is_refused(&entered), "{entered:?}");
    assert!(is_refused(&gate.enter(&key).await));
}

#[tokio::test(start_paused = true)]
async fn nobody_revokes_the_key_of_another_user() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let revoked = gate.auth.revoke(Some(&scope_of("bob")), &key.record.id).await.expect("the store is up");
    assert_eq!(revoked, None);
    assert!(gate.enter(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_not_a_bad_credential() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    gate.line.cut();
    assert!(matches!(gate.enter(&key).await, Err(Refused::Unavailable(_))));
    assert!(matches!(gate.auth.mint(order()).await, Err(Error::Store { .. })));
    gate.line.mend();
    assert!(gate.enter(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_last_use_is_written_once_a_minute_and_off_the_path_of_requests() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    let first = gate.clock.now();
    for _ in 0..300 {
        gate.enter(&key).await.expect("it is a good key");
        tokio::time::sleep(SECOND / 10).await;
    }
    assert_eq!(gate.line.uses(), 1);
    assert_eq!(gate.stored(&key).await.last_used_at, Some(first));

    tokio::time::sleep(31 * SECOND).await;
    let later = gate.clock.now();
    gate.enter(&key).await.expect("it is a good key");
    assert_eq!(gate.line.uses(), 1, "the request itself does not write");
    gate.auth.flush().await;
    assert_eq!(gate.stored(&key).await.last_used_at, Some(later));
}

#[tokio::test(start_paused = true)]
async fn a_use_that_another_process_has_just_noted_is_not_noted_again() {
    let gate = Gate::new();
    let key = gate.mint(order()).await;
    gate.line.store.key_used(&key.record.id, gate.clock.now()).await.expect("the store is up");
    gate.enter(&key).await.expect("it is a good key");
    gate.auth.flush().await;
    assert_eq!(gate.line.uses(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_an_admin_names_somebody_else() {
    let gate = Gate::new();
    let roles = Roles::of(&[Role::Admin]);
    let admin = gate.enter(&gate.mint(NewKey { roles, ..order() }).await).await.expect("it is a good key");
    assert_eq!(gate.auth.scope_of(&admin, "acme", "bob").expect("a name"), scope_of("bob"));
    assert!(matches!(gate.auth.scope_of(&admin, "acme", "null"), Err(Error::Name(_))));
    for roles in [Roles::of(&[Role::User]), Roles::of(&[Role::User, Role::Operator]), Roles::default()] {
        let other = Principal { roles, ..admin.clone() };
        assert!(matches!(gate.auth.scope_of(&other, "acme", "ada"), Err(Error::NotAdmin)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_has_a_secret_in_it() {
    let gate = Gate::new();
    let order = order();
    let key = gate.mint(order.clone()).await;
    let principal = gate.enter(&key).await.expect("it is a good key");
    let ticket = gate.auth.ticket(&principal);
    let validity = gate.auth.watch(&principal);
    let shown = format!("{order:?} {key:?} {principal:?} {ticket:?} {validity:?} {:?}", gate.auth);
    let half = &key.shown.expose()[key.shown.expose().len() - 43..];
    assert!(!shown.contains(half) && !shown.contains(ticket.text.expose()), "{shown}");
    assert!(!shown.contains(&format!("{:?}", key.record.hash)), "{shown}");
}
