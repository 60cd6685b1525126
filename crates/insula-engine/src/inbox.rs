//! Questions that a user's runs have asked, and the way of an answer to them.
//!
//! An answer is checked before it is recorded, against what the question asks for: a question never changes.

use std::sync::Arc;

use insula_agent::Question;
use insula_context::{RunId, UserScope};
use insula_infra::{Answer, AnswerRequest, OpenQuestion, Page, PageRequest};
use insula_registry::schema;
use serde_json::Value;

use crate::{Error, ExecutionEngineFactory, factory::whole, platform::Platform};

impl ExecutionEngineFactory {
    /// Open questions of a user's runs, or of one of them, newest first.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn inbox(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        Ok(self.platform.backend.inbox.questions(scope, run, page).await?)
    }

    /// Answers a question of a run, wherever the run is: the one of this index, or the oldest open one. Durable when it
    /// returns. `None` when the run has no such open question.
    ///
    /// # Errors
    /// [`Error::Answer`] when it is not what the question asks for, with every violation; the question stays open then.
    /// [`Error::Storage`] when the store does not answer.
    pub async fn answer_question(
        &self,
        scope: &UserScope,
        run: &RunId,
        index: Option<u32>,
        answer: &Value,
        by: &str,
    ) -> Result<Option<AnswerRequest>, Error> {
        let platform = &self.platform;
        let Some(open) = open_question(platform, scope, run, index).await? else { return Ok(None) };
        let question = whole(platform, scope, &open.question.question).await?;
        check(&question, answer)?;
        let json = |e: serde_json::Error| Error::Json { what: "the answer", problem: e.to_string() };
        let raw = serde_json::value::to_raw_value(answer).map_err(json)?;
        let answer = Answer { index: open.question.index, answer: raw.into(), by: Arc::from(by) };
        let recorded = platform.backend.inbox.answer(scope, run, answer).await?;
        platform.background.wake.notify_one();
        Ok(recorded)
    }
}

/// The open question of this index, or the oldest.
async fn open_question(
    platform: &Platform,
    scope: &UserScope,
    run: &RunId,
    index: Option<u32>,
) -> Result<Option<OpenQuestion>, Error> {
    let (mut page, mut oldest) = (PageRequest::default(), None::<OpenQuestion>);
    loop {
        let found = platform.backend.inbox.questions(scope, Some(run), &page).await?;
        for open in found.items {
            match (index, &oldest) {
                (Some(index), _) if open.question.index == index => return Ok(Some(open)),
                (None, Some(known)) if known.question.index < open.question.index => {}
                (None, _) => oldest = Some(open),
                _ => {}
            }
        }
        match found.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(oldest),
        }
    }
}

/// Holds an answer against the choices and the schema of a question in its stored form.
fn check(question: &Value, answer: &Value) -> Result<(), Error> {
    let choices = question["choices"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let choice = Question::new("").choices(choices).refuses(answer);
    let shape = match &question["schema"] {
        Value::Null => Vec::new(),
        asked => schema::check(asked, answer)
            .unwrap_or_else(|problem| vec![format!("the question's schema is not a JSON Schema: {problem}")]),
    };
    let violations: Vec<String> = choice.into_iter().chain(shape).collect();
    if violations.is_empty() { Ok(()) } else { Err(Error::Answer { violations }) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn violations(question: Question, answer: &Value) -> Vec<String> {
        match check(&serde_json::to_value(question).expect("a question has a JSON form"), answer) {
            Ok(()) => Vec::new(),
            Err(Error::Answer { violations }) => violations,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_answer_is_held_against_choices_and_schema() {
        let choice = || Question::new("Refund?").choices(["yes", "no"]);
        assert!(violations(choice(), &json!("yes")).is_empty());
        assert_eq!(violations(choice(), &json!("maybe")), ["choose one of: yes, no"]);
        let count = || Question::new("How many?").answered_by::<u8>();
        assert!(violations(count(), &json!(7)).is_empty());
        assert_eq!(violations(count(), &json!("seven")).len(), 1);
        assert!(violations(Question::new("Anything?"), &json!(null)).is_empty());
    }
}
