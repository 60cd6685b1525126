//! An agent that moves money, or would: it asks a human before it does, pays at most once whatever happens to the process,
//! and can say afterwards whether it has paid. The money is a row in the user's own database.

use std::time::Duration;

use insula_agent::{Effect, Error, Question, Reconciled, Result, Session, Tool, ToolCall, ToolSpec, agent_fn, tool_fn};
use insula_registry::{AgentClass, Dependency};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Up to this amount nobody is asked.
const SMALL: i64 = 20;
/// How long somebody may think about it.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What is to be paid back, and for which order.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Refund {
    /// The order.
    order: String,
    /// The amount, in whole units.
    #[schemars(range(min = 1, max = 10_000))]
    amount: i64,
}

pub(crate) fn class() -> AgentClass {
    AgentClass::new("refund", "1", || agent_fn(refund))
        .describe(
            "Pays an order back, after a human has agreed where it is more than 20: `insula inbox` shows the question.",
        )
        .input_schema(schemars::schema_for!(Refund).to_value())
        .needs(Dependency::Database)
        .needs(Dependency::Tool("pay-back".to_owned()))
}

async fn refund(session: Session, input: Value) -> Result<Value> {
    let refund: Refund = serde_json::from_value(input)
        .map_err(|error| Error::caused("the input names an order and an amount", error))?;
    if refund.amount > SMALL {
        session.think(format!("{} is more than {SMALL}: somebody has to agree", refund.amount));
        let question = Question::new(format!("Pay {} back for order {}?", refund.amount, refund.order));
        let agreed: String = session.ask(question.choices(["yes", "no"]).expires(PATIENCE).or_else("no")).await?;
        if agreed == "no" {
            return Ok(json!({"refunded": 0, "order": refund.order}));
        }
    }
    let receipt = session.call_tool("pay-back", &refund).await?;
    Ok(json!({"refunded": refund.amount, "order": refund.order, "receipt": receipt}))
}

/// The tool that pays. Asked after a crash, it finds out by the call's key whether it has.
pub(crate) fn tool() -> impl Tool {
    let spec = ToolSpec::new::<Refund>("pay-back").describe("Pays an order back, once.").effect(Effect::Once);
    tool_fn(spec, pay).reconciled_by(|call, _| async move { has_paid(&call).await })
}

async fn pay(call: ToolCall, refund: Refund) -> Result<Value> {
    let mut tx = call.database()?.begin().await?;
    tx.execute("CREATE TABLE IF NOT EXISTS refunds (receipt TEXT PRIMARY KEY, order_no TEXT, amount INTEGER)", &[])
        .await?;
    let values = [call.key().into(), refund.order.into(), refund.amount.into()];
    tx.execute("INSERT INTO refunds VALUES (?, ?, ?)", &values).await?;
    tx.commit().await?;
    Ok(Value::from(call.key()))
}

async fn has_paid(call: &ToolCall) -> Result<Reconciled> {
    let mut tx = call.database()?.begin().await?;
    let table = tx.fetch("SELECT 1 FROM sqlite_schema WHERE name = 'refunds'", &[]).await?;
    let paid = if table.is_empty() {
        false
    } else {
        !tx.fetch("SELECT 1 FROM refunds WHERE receipt = ?", &[call.key().into()]).await?.is_empty()
    };
    Ok(if paid { Reconciled::Happened(Value::from(call.key())) } else { Reconciled::DidNotHappen })
}
