//! The promises, on a receiver of this machine and the memory backend.

mod stage;

use std::{net::Ipv4Addr, time::Duration};

use aws_lc_rs::hmac;
use axum::{body::Body, response::Response};
use insula_context::Clock as _;
use insula_infra::WebhookState;

use self::stage::{GRACE, Receiver, SECRET, Stage, open_rules, status, user};
use super::{PlainHttp, WebhookCounts, WebhookRules, desk::HOLD};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn url(receiver: &Receiver) -> String {
    format!("http://{}/done", receiver.address)
}

#[tokio::test]
async fn the_end_of_a_run_is_told_once_and_signed() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| Some(status(204))).await);
    let at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    let call = stage.comes_to(WebhookState::Delivered, "ada", "r-1").await;
    assert_eq!((call.attempts, call.last_error), (1, None));

    let seen = receiver.seen().remove(0);
    let body = seen.json();
    assert_eq!((seen.path.as_str(), &body["type"]), ("/done", &"run.ended".into()));
    assert_eq!(body["delivery_id"], seen.header("insula-delivery"));
    assert_eq!((&body["run"]["run_id"], &body["run"]["user_id"]), (&"r-1".into(), &"ada".into()));
    assert_eq!((&body["run"]["status"], &body["run"]["result"]["sum"]), (&"completed".into(), &42.into()));
    assert_eq!(body["run"].get("input"), None);
    assert_eq!(seen.header("content-type"), "application/json");
    verify(&seen);

    stage.clock.advance(Duration::from_secs(3_600));
    at_work.wake.notify_one();
    stage.run("ada", "r-2", &url(&receiver)).await;
    stage.comes_to(WebhookState::Delivered, "ada", "r-2").await;
    let ids: Vec<_> = receiver.seen().iter().map(|seen| seen.json()["run"]["run_id"].clone()).collect();
    assert_eq!(ids, ["r-1", "r-2"]);
    assert_eq!(at_work.counters.now(), WebhookCounts { delivered: 2, failed: 0, dead: 0 });
}

/// As a receiver does it, with the other half of the library's interface.
fn verify(seen: &stage::Seen) {
    let digits = seen.header("insula-signature").strip_prefix("v1=").unwrap();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let tag: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let signed = [seen.header("insula-timestamp").as_bytes(), b".", &seen.body].concat();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &signed, &tag).unwrap();
}

#[tokio::test]
async fn a_refused_call_is_made_again_under_the_same_delivery() {
    let answer = |number| Some(status(if number == 1 { 500 } else { 200 }));
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, answer).await);
    let at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    let call = stage.was_tried(1, "ada", "r-1").await;
    assert_eq!(call.state, WebhookState::Due);
    assert_eq!(call.next_at, Some(stage.clock.now().plus(Duration::from_secs(5))));
    assert_eq!(call.last_error.as_deref(), Some("it answered 500: no, thank you"));

    stage.clock.advance(Duration::from_secs(5));
    at_work.wake.notify_one();
    stage.comes_to(WebhookState::Delivered, "ada", "r-1").await;
    let seen = receiver.seen();
    assert_eq!(seen[0].header("insula-delivery"), seen[1].header("insula-delivery"));
    assert_eq!(seen[0].body, seen[1].body);
    assert_ne!(seen[0].header("insula-signature"), seen[1].header("insula-signature"));
    verify(&seen[1]);
}

#[tokio::test]
async fn the_same_run_id_of_two_users_is_two_deliveries() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| Some(status(200))).await);
    let _at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    stage.run("bob", "r-1", &url(&receiver)).await;
    let seen = receiver.has_seen(2).await;
    assert_ne!(seen[0].header("insula-delivery"), seen[1].header("insula-delivery"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer =
        |_| Some(Response::builder().status(307).header("location", "/elsewhere").body(Body::empty()).unwrap());
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, answer).await);
    let _at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    let call = stage.was_tried(1, "ada", "r-1").await;
    assert_eq!(call.last_error.as_deref(), Some("it answered 307, and redirects are not followed"));
    assert_eq!(receiver.seen().len(), 1);
}

/// Also where a submission was checked under other rules, or nobody checked it.
#[tokio::test]
async fn an_address_that_is_not_public_is_never_connected_to() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| Some(status(200))).await);
    let rules = WebhookRules { plain_http: PlainHttp::Allowed, ..WebhookRules::default() };
    let at_work = stage.deliver(rules);
    let port = receiver.address.port();
    let literal = "the URL must not lead to an address that is not public";
    let hosts = [
        ("127.0.0.1", literal),
        ("[::ffff:127.0.0.1]", literal),
        ("[::1]", literal),
        ("2130706433", literal),
        ("localhost", "the host has no address that may be called"),
    ];
    for (number, (host, why)) in hosts.into_iter().enumerate() {
        let id = format!("r-{number}");
        stage.run("ada", &id, &format!("http://{host}:{port}/done")).await;
        at_work.wake.notify_one();
        let call = stage.was_tried(1, "ada", &id).await;
        assert_eq!((call.state, call.last_error.as_deref()), (WebhookState::Due, Some(why)), "{host}");
    }
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_name_may_lead_where_configuration_allows_and_the_call_keeps_to_https_otherwise() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| Some(status(200))).await);
    let at_work = stage.deliver(open_rules());
    let local = format!("http://localhost:{}/done", receiver.address.port());
    stage.run("ada", "r-1", &local).await;
    stage.comes_to(WebhookState::Delivered, "ada", "r-1").await;
    drop(at_work);

    let _strict = stage.deliver(WebhookRules { plain_http: PlainHttp::Refused, ..open_rules() });
    stage.run("ada", "r-2", &local).await;
    let call = stage.was_tried(1, "ada", "r-2").await;
    assert_eq!(call.last_error.as_deref(), Some("the URL must be https"));
}

#[tokio::test]
async fn what_does_not_speak_tls_is_not_told_anything() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| Some(status(200))).await);
    let _at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver).replace("http:", "https:")).await;
    let call = stage.was_tried(1, "ada", "r-1").await;
    assert!(call.last_error.unwrap().starts_with("no connection: "));
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_call_whose_process_was_lost_is_made_by_another() {
    let answer = |number| (number > 1).then(|| status(200));
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, answer).await);
    let lost = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    receiver.has_seen(1).await;
    drop(lost);

    let other = stage.deliver(open_rules());
    stage.clock.advance(HOLD - Duration::from_secs(1));
    other.wake.notify_one();
    stage.run("ada", "r-2", &url(&receiver)).await;
    stage.comes_to(WebhookState::Delivered, "ada", "r-2").await;
    assert_eq!(stage.call("ada", "r-1").await.state, WebhookState::Due, "it is held for the lost one");
    stage.clock.advance(Duration::from_secs(1));
    other.wake.notify_one();
    let call = stage.comes_to(WebhookState::Delivered, "ada", "r-1").await;
    assert_eq!(call.attempts, 1);
}

#[tokio::test]
async fn nobody_tries_after_twelve_attempts_until_it_is_sent_again_by_hand() {
    let answer = |number| Some(status(if number <= 12 { 503 } else { 200 }));
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, answer).await);
    let at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    for attempt in 1..=12 {
        stage.was_tried(attempt, "ada", "r-1").await;
        stage.clock.advance(Duration::from_secs(3_600));
        at_work.wake.notify_one();
    }
    let call = stage.comes_to(WebhookState::Dead, "ada", "r-1").await;
    assert_eq!((call.attempts, call.next_at), (12, None));
    assert_eq!(at_work.counters.now(), WebhookCounts { delivered: 0, failed: 12, dead: 1 });

    let again = stage.backend.webhooks.resend_webhook(&user("ada"), &call.header.run).await.unwrap().unwrap();
    assert_eq!((again.state, again.attempts), (WebhookState::Due, 0));
    at_work.wake.notify_one();
    let call = stage.comes_to(WebhookState::Delivered, "ada", "r-1").await;
    assert_eq!((call.attempts, receiver.seen().len()), (1, 13));
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let answer = |_| Some(Response::builder().status(429).header("retry-after", "600").body(Body::empty()).unwrap());
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, answer).await);
    let _at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    let call = stage.was_tried(1, "ada", "r-1").await;
    assert_eq!(call.next_at, Some(stage.clock.now().plus(Duration::from_secs(600))));
    assert_eq!(call.last_error.as_deref(), Some("it answered 429"));
}

#[tokio::test]
async fn of_a_long_refusal_little_is_kept_on_one_line() {
    let answer = |_| Some(Response::builder().status(500).body("ab\r\n\0 ".repeat(1_000_000).into()).unwrap());
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, answer).await);
    let _at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    let error = stage.was_tried(1, "ada", "r-1").await.last_error.unwrap();
    assert_eq!(error, format!("it answered 500: {}", "ab ".repeat(67).get(..200).unwrap()));
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let (stage, slow) = (Stage::new(), Receiver::start(HERE, |_| None).await);
    let quick = Receiver::start(Ipv4Addr::new(127, 0, 0, 2), |_| Some(status(200))).await;
    let _at_work = stage.deliver(open_rules());
    for number in 0..40 {
        stage.run("ada", &format!("r-{number}"), &url(&slow)).await;
    }
    stage.run("bob", "r-quick", &url(&quick)).await;
    stage.run("ada", "r-quick", &url(&quick)).await;
    stage.comes_to(WebhookState::Delivered, "bob", "r-quick").await;
    stage.comes_to(WebhookState::Delivered, "ada", "r-quick").await;
    assert_eq!(slow.has_seen(4).await.len(), 4);
}

#[tokio::test]
async fn a_shutdown_lets_calls_end_that_are_under_way_and_begins_none() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| None).await);
    let mut at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    receiver.has_seen(1).await;
    at_work.shut_down();
    stage.run("ada", "r-2", &url(&receiver)).await;
    receiver.release();
    at_work.has_ended().await;
    assert_eq!(stage.call("ada", "r-1").await.state, WebhookState::Delivered);
    assert_eq!((stage.call("ada", "r-2").await.state, receiver.seen().len()), (WebhookState::Due, 1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_no_longer_than_its_grace() {
    let (stage, receiver) = (Stage::new(), Receiver::start(HERE, |_| None).await);
    let mut at_work = stage.deliver(open_rules());
    stage.run("ada", "r-1", &url(&receiver)).await;
    let began = tokio::time::Instant::now();
    at_work.shut_down();
    at_work.has_ended().await;
    assert!(began.elapsed() <= GRACE);
    assert_eq!(stage.call("ada", "r-1").await.state, WebhookState::Due);
}
