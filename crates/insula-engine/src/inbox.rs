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
    let asked = find(platform, scope, run, given.index).await?;
    let index = match (given.index, &asked) {
        (_, Some(question)) => question.question.index,
        // One that is not open any more: the store knows why.
        (Some(index), None) => index,
        (None, None) => return Ok(None),
    };
    if let Some(question) = &asked {
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

/// The open question of this place, or the oldest.
async fn find(
    platform: &Platform,
    scope: &UserScope,
    run: &RunId,
    index: Option<u32>,
) -> Result<Option<OpenQuestion>, Error> {
    let (mut page, mut oldest) = (PageRequest::default(), None);
    loop {
        let questions = platform.backend.inbox.questions(scope, Some(run), &page).await?;
        for question in questions.items {
            if index == Some(question.question.index) {
                return Ok(Some(question));
            }
            // Newest first.
            oldest = Some(question);
        }
        page.cursor = questions.next;
        if page.cursor.is_none() {
            return Ok(oldest.filter(|_| index.is_none()));
        }
    }
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
