//! Questions to a human, pauses, and calls that are given up half-way.

use std::time::Duration;

use insula_agent::{Error, Question};
use insula_context::UserExecutionContext;
use insula_engine::{AnswerTo, Outcome};
use insula_infra::{AnswerRequest, Event, PageRequest};
use insula_registry::AgentClass;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{class, data, log_of, nothing_is_left};
use crate::support::{Island, context, in_virtual_time, kinds, on_every_backend, until_async};

fn asking(question: Question) -> AgentClass {
    class("asking", move |session, _| {
        let question = question.clone();
        async move {
            let answer: Value = session.ask(question).await?;
            Ok(json!({"answer": answer}))
        }
    })
}

/// Answers the oldest question of a run as soon as there is one, once for each answer.
async fn reply(island: &Island, context: &UserExecutionContext, answers: &[Value]) {
    for answer in answers {
        let given = async || give(island, context, answer.clone()).await == Some(AnswerRequest::Recorded);
        until_async("there is a question", given).await;
    }
}

async fn give(island: &Island, context: &UserExecutionContext, answer: Value) -> Option<AnswerRequest> {
    let answer = AnswerTo::the_oldest(answer).by("a test");
    island.factory().answer(context.scope(), context.run(), answer).await.unwrap()
}

/// Runs `asking` and answers as soon as there is a question.
async fn answered(island: &Island, context: &UserExecutionContext, answer: Value) -> (Outcome, Vec<Event>) {
    let engine = island.engine(context);
    let answers = [answer];
    let reply = reply(island, context, &answers);
    let (outcome, ()) = tokio::join!(engine.execute_agent(context, "asking", json!(1)), reply);
    (outcome.unwrap(), log_of(island, context).await)
}

on_every_backend! {
    async fn a_question_waits_for_its_answer_and_both_are_in_the_log(island: Island) {
        let island = island.class(asking(Question::new("Refund 40 €?").choices(["yes", "no"])));
        let ada = island.user("ada");
        let context = context(&ada);
        let (outcome, log) = answered(&island, &context, json!("yes")).await;
        assert_eq!(outcome.result(), Some(&json!({"answer": "yes"})));
        let expected = ["agent_started", "agent_waiting", "agent_resumed", "step_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
        assert_eq!(data(&log[1])["question"]["choices"], json!(["yes", "no"]));
        assert_eq!(data(&log[3])["result"], "yes");
        assert_eq!(give(&island, &context, json!("no")).await, None, "it is answered already");
    }

    async fn an_answer_that_does_not_fit_is_refused_with_the_violations_and_the_question_stays_open(island: Island) {
        let mut question = Question::new("How much?").choices(["10", "20"]);
        question.schema = Some(json!({"type": "string", "maxLength": 2}));
        let island = island.class(asking(question));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let refused = async {
            until_async("there is a question", async || !island.factory().inbox(&ada, None, &PageRequest::default()).await.unwrap().items.is_empty()).await;
            let wrong = island.factory().answer(&ada, context.run(), AnswerTo::the_oldest("perhaps")).await;
            let Err(insula_engine::Error::Answer { violations }) = wrong else { panic!("{wrong:?}") };
            assert_eq!(violations.len(), 2, "{violations:?}");
            assert!(violations[0].contains("choose one of: 10, 20"), "{violations:?}");
            reply(&island, &context, &[json!("20")]).await;
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "asking", json!(1)), refused);
        assert_eq!(outcome.unwrap().result(), Some(&json!({"answer": "20"})));
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn two_questions_at_once_are_answered_in_the_order_in_which_they_were_asked(island: Island) {
        let twice = class("twice", |session, _| async move {
            let (first, second) = tokio::try_join!(
                session.ask::<Value>(Question::new("first?")),
                session.ask::<Value>(Question::new("second?")),
            )?;
            Ok(json!([first, second]))
        });
        let island = island.class(twice);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let answers = [json!("one"), json!("two")];
        let reply = reply(&island, &context, &answers);
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "twice", json!(1)), reply);
        assert_eq!(outcome.unwrap().result(), Some(&json!(["one", "two"])));
    }

    async fn nobody_answers_for_somebody_else(island: Island) {
        let island = island.class(asking(Question::new("well?")));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let context = context(&ada);
        let engine = island.engine(&context);
        let reply = async {
            let mut events = engine.events(context.thread(), 0);
            while !matches!(events.next().await.unwrap(), Some(insula_engine::StreamItem::Event(e))
                if e.kind.as_str() == "agent_waiting") {}
            let his = island.factory().answer(&bob, context.run(), AnswerTo::the_oldest("his")).await;
            assert_eq!(his.unwrap(), None);
            assert_eq!(give(&island, &context, json!("hers")).await, Some(AnswerRequest::Recorded));
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "asking", json!(1)), reply);
        assert_eq!(outcome.unwrap().result(), Some(&json!({"answer": "hers"})));
    }
}

in_virtual_time! {
    async fn an_expired_question_takes_its_default_or_fails(island: Island) {
        let hour = Duration::from_secs(3_600);
        let island = island.limits(|limits| limits.run_time = 2 * hour);
        let with_default = class("asking", move |session, _| async move {
            let question = Question::new("well?").expires(hour).or_else("no");
            Ok(json!({"answer": session.ask::<Value>(question).await?}))
        });
        let without = class("pressing", move |session, _| async move {
            session.ask::<Value>(Question::new("well?").expires(hour)).await
        });
        let island = island.class(with_default).class(without);
        let ada = island.user("ada");
        let began = Instant::now();
        assert_eq!(island.run(&ada, "asking", json!(1)).await.result(), Some(&json!({"answer": "no"})));
        assert_eq!(began.elapsed().as_secs(), 3_600);
        let failed = island.run(&ada, "pressing", json!(1)).await;
        assert_eq!(failed.end.message().unwrap(), "the question expired without an answer");
    }

    async fn a_pause_is_as_long_as_it_says_and_is_in_the_log(island: Island) {
        let pausing = class("pausing", |session, _| async move {
            session.sleep(Duration::from_secs(90)).await?;
            Ok(json!(true))
        });
        let island = island.class(pausing);
        let ada = island.user("ada");
        let (context, began) = (context(&ada), Instant::now());
        assert!(island.engine(&context).execute_agent(&context, "pausing", json!(1)).await.unwrap().is_success());
        assert_eq!(began.elapsed().as_secs(), 90);
        let log = log_of(&island, &context).await;
        let expected = ["agent_started", "agent_waiting", "agent_resumed", "step_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
        assert_eq!((&data(&log[1])["waiting_for"], &data(&log[2])["why"]), (&json!("timer"), &json!("timer")));
    }

    async fn an_agent_that_gives_up_waiting_goes_on_as_it_likes(island: Island) {
        let impatient = class("impatient", |session, input| async move {
            let question = session.ask::<Value>(Question::new("well?"));
            let given_up = tokio::time::timeout(Duration::from_millis(500), question).await.is_err();
            match input.as_str() {
                Some("fail") => Err(Error::failed("nobody is there")),
                Some("panic") => panic!("nobody is there"),
                Some("silent") => Ok(Value::Null),
                _ => Ok(json!({"given_up": given_up})),
            }
        });
        let island = island.class(impatient);
        let ada = island.user("ada");
        let cases =
            [("go on", "completed"), ("fail", "error"), ("panic", "panic"), ("silent", "returned_nothing")];
        for (input, end) in cases {
            let context = context(&ada);
            let outcome = island.engine(&context).execute_agent(&context, "impatient", json!(input)).await.unwrap();
            assert_eq!(outcome.end.reason(), end, "{outcome:?}");
            assert_eq!(give(&island, &context, json!("late")).await, None, "the question is gone");
        }
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn two_pauses_side_by_side_take_as_long_as_the_longer_one(island: Island) {
        let pausing = class("pausing", |session, _| async move {
            let (short, long) = (Duration::from_secs(10), Duration::from_secs(30));
            let (one, two) = tokio::join!(session.sleep(long), session.sleep(short));
            one.and(two)?;
            Ok(json!(true))
        });
        let island = island.class(pausing);
        let ada = island.user("ada");
        let began = Instant::now();
        assert!(island.run(&ada, "pausing", json!(1)).await.is_success());
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
