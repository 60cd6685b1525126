//! Answers to questions, held against what was asked.

use std::sync::Arc;

use insula_agent::Question;
use insula_context::{RunId, UserScope};
use insula_infra::{Answer, AnswerRequest, OpenQuestion, PageRequest};
use serde_json::Value;

use crate::{Error, events, platform::Platform};

/// An answer, and to which question.
///
/// ```
/// use insula_engine::AnswerTo;
///
/// let answer = AnswerTo::the_oldest("yes").by("ada");
/// let other = AnswerTo::question(3, 17);
/// ```
#[derive(Debug, Clone)]
pub struct AnswerTo {
    index: Option<u32>,
    answer: Value,
    by: Arc<str>,
}

impl AnswerTo {
    /// The answer to the run's oldest open question.
    pub fn the_oldest(answer: impl Into<Value>) -> Self {
        Self { index: None, answer: answer.into(), by: Arc::from("user") }
    }

    /// The answer to one question, by its place in the run's order of calls.
    pub fn question(index: u32, answer: impl Into<Value>) -> Self {
        Self { index: Some(index), ..Self::the_oldest(answer) }
    }

    /// Who answers.
    #[must_use]
    pub fn by(mut self, who: impl AsRef<str>) -> Self {
        self.by = Arc::from(who.as_ref());
        self
    }
}

pub(crate) async fn answer(
    platform: &Platform,
    scope: &UserScope,
    run: &RunId,
    given: AnswerTo,
) -> Result<Option<AnswerRequest>, Error> {
    let inbox = &platform.backend.inbox;
    let open = inbox.questions(scope, Some(run), &PageRequest::default()).await?.items;
    let index = match given.index {
        Some(index) => index,
        // Newest first.
        None => match open.last() {
            Some(oldest) => oldest.question.index,
            None => return Ok(None),
        },
    };
    // A question that is not open any more: the store knows why.
    if let Some(question) = open.iter().find(|open| open.question.index == index) {
        check(question, &given.answer)?;
    }
    let answer = Answer { index, answer: events::raw("the answer", &given.answer)?, by: given.by };
    let recorded = inbox.answer(scope, run, answer.clone()).await?;
    if recorded == Some(AnswerRequest::Recorded) {
        platform.live.answer(scope, run, &answer);
        platform.background.wake.notify_one();
    }
    Ok(recorded)
}

fn check(open: &OpenQuestion, answer: &Value) -> Result<(), Error> {
    let read = serde_json::from_str::<Question>(open.question.question.get());
    let question = read.map_err(|error| Error::Json { what: "the stored question", problem: error.to_string() })?;
    let mut violations = Vec::from_iter(question.refuses(answer));
    if let Some(schema) = &question.schema {
        let by_schema = insula_registry::violations_of(schema, answer);
        violations.extend(by_schema.unwrap_or_else(|problem| vec![format!("its schema is none: {problem}")]));
    }
    if violations.is_empty() { Ok(()) } else { Err(Error::Answer { violations }) }
}
