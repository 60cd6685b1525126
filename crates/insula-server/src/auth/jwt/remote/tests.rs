//! Sets of keys from a small server on this machine.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::State as Shared,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::super::{
    super::{Principal, Refused},
    JwtKey, JwtRules,
    tests::{
        Door,
        pairs::{ED, RSA},
    },
};
use super::*;

/// What the server says, and how often it was asked.
struct Answers {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
}

#[derive(Clone)]
enum Answer {
    Keys(Value),
    Text(String),
    Status(StatusCode),
    Elsewhere(String),
    Never,
}

impl Answers {
    fn now(&self, answer: Answer) {
        *self.answer.lock().expect("no test panics while it holds it") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(Shared(answers): Shared<Arc<Answers>>) -> Response {
    answers.asked.fetch_add(1, Ordering::SeqCst);
    let answer = answers.answer.lock().expect("no test panics while it holds it").clone();
    match answer {
        Answer::Keys(keys) => json!({ "keys": keys }).to_string().into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Status(status) => status.into_response(),
        Answer::Elsewhere(url) => (StatusCode::FOUND, [(LOCATION, url)]).into_response(),
        Answer::Never => std::future::pending().await,
    }
}

/// A server on a free port, which ends with the test's runtime.
async fn serve(first: Answer) -> (String, Arc<Answers>) {
    let answers = Arc::new(Answers { answer: Mutex::new(first), asked: AtomicUsize::new(0) });
    let app = Router::new().route("/jwks", get(answer)).with_state(Arc::clone(&answers));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let url = format!("http://{}/jwks", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, answers)
}

fn door(url: &str) -> Door {
    Door::new(JwtRules::new(vec![JwtKey::Url(url.to_owned())]))
}

fn is_unavailable(answer: &Result<Principal, Refused>) -> bool {
    matches!(answer, Err(Refused::Unavailable(_)))
}

#[tokio::test]
async fn the_set_is_fetched_for_the_first_token_and_kept() {
    let (url, answers) = serve(Answer::Keys(json!([RSA.jwk("r1"), ED.jwk("e1")]))).await;
    let door = door(&url);
    assert_eq!(answers.asked(), 0);
    for _ in 0..10 {
        for (pair, kid) in [(&RSA, "r1"), (&ED, "e1")] {
            let entered = door.auth.authenticate(&pair.sign(Some(kid), &door.claims())).await;
            assert!(entered.is_ok(), "{entered:?}");
        }
    }
    assert_eq!(answers.asked(), 1);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for_once_a_minute_at_most() {
    let (url, answers) = serve(Answer::Keys(json!([ED.jwk("e1")]))).await;
    let door = door(&url);
    assert!(door.auth.authenticate(&ED.sign(Some("e1"), &door.claims())).await.is_ok());
    let fresh = RSA.sign(Some("r1"), &door.claims());
    answers.now(Answer::Keys(json!([ED.jwk("e1"), RSA.jwk("r1")])));
    for _ in 0..10 {
        door.assert_refused(&fresh, "a minute has not gone by").await;
    }
    assert_eq!(answers.asked(), 1);

    door.clock.advance(BETWEEN);
    assert!(door.auth.authenticate(&fresh).await.is_ok());
    assert_eq!(answers.asked(), 2);
}

#[tokio::test]
async fn many_who_come_at_once_wait_for_one_fetch() {
    let (url, answers) = serve(Answer::Keys(json!([ED.jwk("e1")]))).await;
    let door = door(&url);
    let token = ED.sign(Some("e1"), &door.claims());
    let entered = futures::future::join_all((0..100).map(|_| door.auth.authenticate(&token))).await;
    assert!(entered.iter().all(Result::is_ok));
    assert_eq!(answers.asked(), 1);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_end_the_fetch() {
    let (url, _answers) = serve(Answer::Keys(json!([ED.jwk("e1")]))).await;
    let door = door(&url);
    let token = ED.sign(Some("e1"), &door.claims());
    let left = futures::FutureExt::now_or_never(door.auth.authenticate(&token));
    assert!(left.is_none(), "it would have had to wait");
    let entered = door.auth.authenticate(&token).await;
    assert!(entered.is_ok(), "{entered:?}");
}

#[tokio::test]
async fn keys_stay_in_use_while_the_url_does_not_answer() {
    let (url, answers) = serve(Answer::Keys(json!([ED.jwk("e1")]))).await;
    let door = door(&url);
    assert!(door.auth.authenticate(&ED.sign(Some("e1"), &door.claims())).await.is_ok());
    let useless = [
        Answer::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Answer::Text("<html>".to_owned()),
        Answer::Keys(json!([])),
        Answer::Text(format!("{}{}", json!({"keys": [RSA.jwk("r1")]}), " ".repeat(MAX_BYTES))),
    ];
    for (n, answer) in useless.into_iter().enumerate() {
        answers.now(answer);
        door.clock.advance(OLD);
        let unknown = door.auth.authenticate(&RSA.sign(Some("r1"), &door.claims())).await;
        assert!(is_unavailable(&unknown), "{unknown:?}");
        assert_eq!(answers.asked(), 2 + n);
        let known = door.auth.authenticate(&ED.sign(Some("e1"), &door.claims())).await;
        assert!(known.is_ok(), "{known:?}");
    }
}

#[tokio::test]
async fn without_any_keys_nobody_is_refused_for_good_and_it_is_tried_again_soon() {
    let (url, answers) = serve(Answer::Status(StatusCode::BAD_GATEWAY)).await;
    let door = door(&url);
    let token = ED.sign(Some("e1"), &door.claims());
    for _ in 0..10 {
        assert!(is_unavailable(&door.auth.authenticate(&token).await));
    }
    assert_eq!(answers.asked(), 1);
    answers.now(Answer::Keys(json!([ED.jwk("e1")])));
    door.clock.advance(BETWEEN_WITHOUT);
    assert!(door.auth.authenticate(&token).await.is_ok());
}

#[tokio::test]
async fn a_key_that_its_issuer_took_back_is_not_used_for_ever() {
    let (url, answers) = serve(Answer::Keys(json!([ED.jwk("e1")]))).await;
    let door = door(&url);
    assert!(door.auth.authenticate(&ED.sign(Some("e1"), &door.claims())).await.is_ok());
    answers.now(Answer::Keys(json!([RSA.jwk("r1")])));
    door.clock.advance(OLD);
    let token = ED.sign(Some("e1"), &door.claims());
    // The first one does not wait for the new set; it only has it fetched.
    assert!(door.auth.authenticate(&token).await.is_ok());
    let taken_back = async {
        while door.auth.authenticate(&token).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, taken_back).await.expect("the new set is there by then");
    door.assert_refused(&token, "taken back").await;
    assert_eq!(answers.asked(), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, others) = serve(Answer::Keys(json!([ED.jwk("e1")]))).await;
    let (url, answers) = serve(Answer::Elsewhere(elsewhere)).await;
    let door = door(&url);
    assert!(is_unavailable(&door.auth.authenticate(&ED.sign(Some("e1"), &door.claims())).await));
    assert_eq!((answers.asked(), others.asked()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_url_that_never_answers_is_given_up() {
    let (url, _answers) = serve(Answer::Never).await;
    let door = door(&url);
    let begun = tokio::time::Instant::now();
    assert!(is_unavailable(&door.auth.authenticate(&ED.sign(Some("e1"), &door.claims())).await));
    assert!(begun.elapsed() < 2 * PATIENCE);
}
