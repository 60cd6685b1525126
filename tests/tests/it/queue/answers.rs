//! Questions of parked runs, and answers to them.

use std::{sync::Arc, time::Duration};

use insula_agent::Question;
use insula_context::{RandomIds, RunId, UserScope};
use insula_engine::{AnswerTo, Error, RunRequest};
use insula_infra::{
    AnswerRequest, Append, Backend, Claimed, EventType, NewEvent, NewQuestion, PageRequest, RunChange, WaitFor,
    WorkerId,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::support::{Island, on_every_backend};

const LEASE: Duration = Duration::from_secs(30);

async fn claimed(ports: &Backend) -> Claimed {
    let mut claimed = ports.queue.claim(&WorkerId::new("by hand"), LEASE, 1, 10).await.unwrap();
    claimed.pop().expect("a run is to be claimed")
}

/// A run that has asked these questions, with the indexes 0, 1, … and is parked.
async fn asking(island: &Island, scope: &UserScope, questions: &[Question]) -> RunId {
    let run = RunId::generate(&RandomIds);
    island.factory().enqueue(scope, RunRequest::new("echo", json!(1)).run(run.clone())).await.unwrap();
    let claimed = claimed(island.ports()).await;
    let mut append = Append::new(claimed.lease, 0);
    for (index, question) in questions.iter().enumerate() {
        append.asks.push(NewQuestion {
            index: u32::try_from(index).unwrap(),
            kind: WaitFor::Human,
            question: to_raw_value(question).unwrap().into(),
            asked_at: claimed.now,
            expires_at: None,
        });
    }
    let data = |value: Value| Arc::from(to_raw_value(&value).unwrap());
    append.events = [EventType::AgentStarted, EventType::AgentWaiting]
        .into_iter()
        .map(|kind| NewEvent { kind, at: claimed.now, data: data(json!({})), journal: None })
        .collect();
    append.change = Some(RunChange::Waiting { reason: WaitFor::Human, until: None, children: Vec::new() });
    island.ports().queue.append(append).await.unwrap();
    run
}

on_every_backend! {
    async fn an_answer_that_does_not_fit_is_refused_with_every_violation(island: Island) {
        let ada = island.user("ada");
        let factory = island.factory();
        let run = asking(&island, &ada, &[Question::new("How many?").answered_by::<u8>()]).await;
        let answer = async |value: Value| factory.answer(&ada, &run, AnswerTo::the_oldest(value).by("ada")).await;
        let refused = answer(json!("four")).await.unwrap_err();
        assert!(matches!(&refused, Error::Answer { violations } if violations.len() == 1), "{refused:?}");
        assert_eq!(factory.inbox(&ada, None, &PageRequest::default()).await.unwrap().items.len(), 1, "it is open");
        assert_eq!(answer(json!(4)).await.unwrap(), Some(AnswerRequest::Recorded));
        assert_eq!(answer(json!(5)).await.unwrap(), None, "no question is open any more");
        let woken = claimed(island.ports()).await;
        assert_eq!((&woken.run.header.run, woken.answers.len()), (&run, 1));
        assert_eq!((woken.answers[0].answer.get(), &*woken.answers[0].by), ("4", "ada"));
    }

    async fn an_answer_goes_to_the_question_that_is_meant_and_to_the_oldest_otherwise(island: Island) {
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        let questions = ["first", "second", "third"].map(|text| Question::new(text).choices([text]));
        let run = asking(&island, &ada, &questions).await;
        let answer = async |index, value: &str| {
            let given = match index {
                Some(index) => AnswerTo::question(index, value),
                None => AnswerTo::the_oldest(value),
            };
            factory.answer(&ada, &run, given).await.unwrap()
        };
        assert_eq!(answer(Some(1), "second").await, Some(AnswerRequest::Recorded));
        assert_eq!(answer(None, "first").await, Some(AnswerRequest::Recorded));
        assert_eq!(answer(Some(7), "first").await, None, "there is no such question");
        let left = factory.inbox(&ada, Some(&run), &PageRequest::default()).await.unwrap().items;
        assert_eq!(left.iter().map(|open| open.question.index).collect::<Vec<_>>(), [2]);
        let foreign = factory.answer(&ben, &run, AnswerTo::the_oldest("third")).await.unwrap();
        assert_eq!(foreign, None, "somebody else's run is none");
    }
}
