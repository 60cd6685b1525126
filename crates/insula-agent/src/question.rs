//! A question to a human.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// What is asked, and which answers are accepted. The run waits until somebody answers.
///
/// ```
/// use std::time::Duration;
/// use insula_agent::Question;
///
/// let question = Question::new("Refund 40 €?").choices(["yes", "no"]).expires(Duration::from_secs(3_600)).or_else("no");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The words.
    pub text: String,
    /// The JSON Schema of an acceptable answer; any is when absent.
    pub schema: Option<Value>,
    /// The answers to choose from; free when empty.
    pub choices: Vec<String>,
    /// How long somebody may think about it; for ever when absent. In the event as milliseconds.
    #[serde(serialize_with = "as_millis", deserialize_with = "from_millis", rename = "expires_after_ms")]
    pub expires: Option<Duration>,
    /// The answer that counts when nobody answered in time.
    pub default: Option<Value>,
}

fn as_millis<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}

fn from_millis<'de, D: Deserializer<'de>>(millis: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::deserialize(millis)?.map(Duration::from_millis))
}

impl Question {
    /// A question that takes any answer and waits for ever.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), schema: None, choices: Vec::new(), expires: None, default: None }
    }

    /// The answer must have the shape of this type.
    #[must_use]
    pub fn answered_by<T: JsonSchema>(mut self) -> Self {
        self.schema = Some(schemars::schema_for!(T).to_value());
        self
    }

    /// The answer is one of these.
    #[must_use]
    pub fn choices<S: Into<String>>(mut self, choices: impl IntoIterator<Item = S>) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self
    }

    /// Nobody has longer than this.
    #[must_use]
    pub fn expires(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }

    /// What counts as the answer when the question has expired.
    #[must_use]
    pub fn or_else(mut self, answer: impl Into<Value>) -> Self {
        self.default = Some(answer.into());
        self
    }

    /// What is wrong with an answer, if anything: it is not one of the choices.
    pub fn refuses(&self, answer: &Value) -> Option<String> {
        let chosen = self.choices.is_empty() || self.choices.iter().any(|c| Some(c.as_str()) == answer.as_str());
        (!chosen).then(|| format!("choose one of: {}", self.choices.join(", ")))
    }
}
