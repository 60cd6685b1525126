//! Rules of questions and answers: to whom a question is shown, which answer is taken, and that none is lost.

use std::time::Duration;

use insula_context::UserScope;
use tokio::task::JoinSet;

use super::{
    Subject,
    story::{LEASE, parked, run, worker},
};
use crate::{Answer, AnswerRequest, News, OpenQuestion, Page, PageRequest, RunStatus};

async fn open(subject: &Subject, scope: &UserScope, of: Option<&str>, page: &PageRequest) -> Page<OpenQuestion> {
    let of = of.map(run);
    subject.backend.inbox.questions(scope, of.as_ref(), page).await.expect("the inbox answers")
}

/// Which questions are open, as the run's id and the question's index.
async fn listed(subject: &Subject, scope: &UserScope, of: Option<&str>) -> Vec<(String, u32)> {
    let page = open(subject, scope, of, &PageRequest::default()).await;
    page.items.iter().map(|open| (open.header.run.to_string(), open.question.index)).collect()
}

async fn news(subject: &Subject, by: &str) -> Vec<News> {
    subject.backend.queue.news(&worker(by)).await.expect("news are told")
}

fn texts(answers: &[Answer]) -> Vec<(u32, &str, &str)> {
    answers.iter().map(|answer| (answer.index, answer.answer.get(), &*answer.by)).collect()
}

/// Another user's question is as absent as one that was never asked.
pub async fn hides_questions_from_other_users(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await.ask(1, None, parked(None)).await;
    for other in subject.others() {
        assert!(listed(&subject, &other, None).await.is_empty(), "{other} read a question");
        assert!(listed(&subject, &other, Some("r")).await.is_empty(), "{other} read a question");
    }
}

/// Nobody answers another user's question, nor learns that there is one.
pub async fn lets_nobody_else_answer(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await.ask(1, None, parked(None)).await;
    for other in subject.others() {
        assert_eq!(subject.answer(&other, "r", 1, "mine").await, None, "{other} answered");
    }
    assert!(subject.claim("w", 9).await.is_empty());
    assert_eq!(subject.answer(&subject.ada(), "r", 1, "hers").await, Some(AnswerRequest::Recorded));
}

/// Open questions are listed newest first, as they were asked; of one run when that is wanted.
pub async fn lists_open_questions_newest_first(subject: Subject) {
    let ada = subject.ada();
    let expires_at = Some(subject.now().plus(Duration::from_secs(600)));
    let mut first = subject.start(&ada, "t", "first").await;
    first.ask(3, expires_at, None).await;
    first.ask(7, None, None).await;
    subject.start(&ada, "u", "second").await.ask(0, None, parked(None)).await;
    let all = [("second".to_owned(), 0), ("first".to_owned(), 7), ("first".to_owned(), 3)];
    assert_eq!(listed(&subject, &ada, None).await, all);
    assert_eq!(listed(&subject, &ada, Some("first")).await, all[1..]);
    assert!(listed(&subject, &ada, Some("absent")).await.is_empty());
    let oldest = open(&subject, &ada, None, &PageRequest::default()).await.items.remove(2);
    assert_eq!(*oldest.header, *subject.header(&ada, "t", "first"));
    assert_eq!((oldest.question.question.get(), oldest.question.expires_at), (r#"{"text":3}"#, expires_at));
    assert_eq!((oldest.question.asked_at, oldest.question.kind), (subject.now(), crate::WaitFor::Human));
}

/// Pages of any size show each open question once, and a cursor that is none is refused.
pub async fn pages_through_questions(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    for index in 0..7 {
        writer.ask(index, None, None).await;
    }
    assert_eq!(subject.answer(&ada, "r", 5, "yes").await, Some(AnswerRequest::Recorded));
    for limit in [1, 2, 6, 7] {
        let (mut seen, mut request) = (Vec::new(), PageRequest { cursor: None, limit });
        loop {
            let page = open(&subject, &ada, None, &request).await;
            assert!(page.items.len() <= limit, "a page of {} where {limit} were wanted", page.items.len());
            seen.extend(page.items.iter().map(|open| open.question.index));
            let Some(next) = page.next else { break };
            request.cursor = Some(next);
        }
        assert_eq!(seen, [6, 4, 3, 2, 1, 0], "pages of {limit}");
    }
    let page = PageRequest { cursor: Some("not a cursor".to_owned()), limit: 9 };
    let refused = subject.backend.inbox.questions(&ada, None, &page).await.err();
    assert!(matches!(refused, Some(crate::Error::InvalidCursor { .. })), "{refused:?}");
}

/// An answer wakes the run that waits for it, and is handed out with it.
pub async fn wakes_a_parked_run_with_its_answer(subject: Subject) {
    let ada = subject.ada();
    let far = Some(subject.now().plus(Duration::from_secs(1_000_000)));
    subject.start(&ada, "t", "r").await.ask(4, None, parked(far)).await;
    assert!(subject.claim("w", 9).await.is_empty());
    assert_eq!(subject.answer(&ada, "r", 4, "yes").await, Some(AnswerRequest::Recorded));
    assert!(listed(&subject, &ada, None).await.is_empty(), "an answered question is not open");
    let (mut writer, claimed) = subject.claim_one("w").await;
    assert_eq!(claimed.run.status, RunStatus::Waiting);
    assert_eq!(texts(&claimed.answers), [(4, "\"yes\"", "somebody")]);
    writer.close(4).await;
    writer.park(None).await;
    subject.pass(2_000_000);
    assert!(subject.claim("w", 9).await.is_empty(), "a closed question or an old alarm woke the run");
}

/// An answer may come between the question and the parking: the run is handed out at once.
pub async fn loses_no_answer_that_comes_before_the_parking(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.ask(1, None, None).await;
    assert_eq!(subject.answer(&ada, "r", 1, "quick").await, Some(AnswerRequest::Recorded));
    writer.park(None).await;
    let (_, claimed) = subject.claim_one("w").await;
    assert_eq!(texts(&claimed.answers), [(1, "\"quick\"", "somebody")]);
}

/// Whoever holds a run is told of its answers until the question is closed, and nobody else is.
pub async fn tells_the_holder_of_an_answer(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.ask(1, None, None).await;
    writer.ask(2, None, None).await;
    assert!(news(&subject, "creator").await.is_empty(), "a question is no news");
    assert_eq!(subject.answer(&ada, "r", 2, "two").await, Some(AnswerRequest::Recorded));
    for _ in 0..2 {
        let told = news(&subject, "creator").await;
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0].header.run, &told[0].stop), (&run("r"), &None));
        assert_eq!(texts(&told[0].answers), [(2, "\"two\"", "somebody")]);
    }
    assert!(news(&subject, "somebody else").await.is_empty());
    writer.close(2).await;
    assert!(news(&subject, "creator").await.is_empty(), "a closed question is told no more");
    assert_eq!(listed(&subject, &ada, None).await, [("r".to_owned(), 1)]);
}

/// An answer is handed to every one who claims the run, until the question is closed.
pub async fn keeps_an_answer_until_it_is_taken(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await.ask(1, None, parked(None)).await;
    assert_eq!(subject.answer(&ada, "r", 1, "yes").await, Some(AnswerRequest::Recorded));
    for _ in 0..3 {
        let (_, claimed) = subject.claim_one("lost").await;
        assert_eq!(texts(&claimed.answers), [(1, "\"yes\"", "somebody")]);
        subject.pass(LEASE + 1);
    }
}

/// The first answer is kept; whoever comes second is told so.
pub async fn takes_the_first_answer_only(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await.ask(1, None, parked(None)).await;
    assert_eq!(subject.answer(&ada, "r", 1, "first").await, Some(AnswerRequest::Recorded));
    assert_eq!(subject.answer(&ada, "r", 1, "second").await, Some(AnswerRequest::Answered));
    let (_, claimed) = subject.claim_one("w").await;
    assert_eq!(texts(&claimed.answers), [(1, "\"first\"", "somebody")]);
    assert_eq!(subject.answer(&ada, "r", 1, "third").await, Some(AnswerRequest::Answered));
}

/// Of many who answer at the same time, one is heard.
pub async fn takes_one_answer_of_many(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await.ask(1, None, parked(None)).await;
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let subject = subject.clone();
        tasks.spawn(async move { subject.answer(&subject.ada(), "r", 1, &n.to_string()).await });
    }
    let answers = tasks.join_all().await;
    let recorded = answers.iter().filter(|answer| **answer == Some(AnswerRequest::Recorded)).count();
    let refused = answers.iter().filter(|answer| **answer == Some(AnswerRequest::Answered)).count();
    assert_eq!((recorded, refused), (1, 15));
    assert_eq!(subject.claim("w", 9).await.len(), 1);
}

/// An answer at the time of expiry or later is not taken, and an expired question is not shown.
pub async fn takes_no_answer_that_comes_too_late(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.ask(1, Some(subject.now().plus(Duration::from_secs(10))), None).await;
    writer.ask(2, Some(subject.now().plus(Duration::from_secs(20))), parked(None)).await;
    subject.pass(10);
    assert_eq!(listed(&subject, &ada, None).await, [("r".to_owned(), 2)]);
    assert_eq!(subject.answer(&ada, "r", 1, "late").await, Some(AnswerRequest::Expired));
    assert!(subject.claim("w", 9).await.is_empty(), "a late answer woke the run");
    assert_eq!(subject.answer(&ada, "r", 2, "in time").await, Some(AnswerRequest::Recorded));
    subject.pass(20);
    assert_eq!(subject.answer(&ada, "r", 2, "again").await, Some(AnswerRequest::Answered));
    let (_, claimed) = subject.claim_one("w").await;
    assert_eq!(texts(&claimed.answers), [(2, "\"in time\"", "somebody")]);
}

/// What was never asked cannot be answered, and what is closed neither.
pub async fn answers_none_where_nothing_is_asked(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(subject.answer(&ada, "absent", 1, "x").await, None);
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.ask(1, None, None).await;
    assert_eq!(subject.answer(&ada, "r", 2, "x").await, None);
    writer.close(1).await;
    assert_eq!(subject.answer(&ada, "r", 1, "x").await, None);
    assert!(listed(&subject, &ada, None).await.is_empty());
}

/// The end of a run closes its questions, the answered ones as well.
pub async fn closes_all_questions_with_the_end(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.ask(1, None, None).await;
    writer.ask(2, None, None).await;
    assert_eq!(subject.answer(&ada, "r", 2, "x").await, Some(AnswerRequest::Recorded));
    writer.end().await;
    assert!(listed(&subject, &ada, None).await.is_empty());
    assert!(listed(&subject, &ada, Some("r")).await.is_empty());
    assert!(news(&subject, "creator").await.is_empty(), "an ended run has no news");
    for index in [1, 2] {
        assert_eq!(subject.answer(&ada, "r", index, "late").await, None);
    }
}

/// A question is asked by its append or not at all.
pub async fn asks_nothing_with_a_refused_append(subject: Subject) {
    let ada = subject.ada();
    let mut stale = subject.start(&ada, "t", "r").await;
    subject.pass(LEASE + 1);
    assert_eq!(subject.claim("other", 9).await.len(), 1);
    let (question, asked_at, kind) = (super::story::raw(&serde_json::json!(1)), subject.now(), crate::WaitFor::Human);
    let asks = vec![crate::NewQuestion { index: 1, kind, question, asked_at, expires_at: None }];
    let refused = stale.send(crate::Append { asks, ..stale.append(Vec::new(), None) }).await;
    assert!(refused.is_err() && stale.try_say(&[1]).await.is_err());
    assert!(listed(&subject, &ada, None).await.is_empty());
}
