//! Questions that are not closed, as they are read.

use std::sync::Arc;

use insula_infra::Answer;
use sqlx::Row;

use crate::{error::Worked, rows, transaction::Tx};

/// Answers to questions of this run that are not closed yet, in the order of the calls.
pub(crate) async fn answers(tx: &mut Tx, owner: i64, run: i64) -> Worked<Vec<Answer>> {
    const ANSWERS: &str = "SELECT place, answer, answered_by FROM insula.questions
        WHERE owner_no = $1 AND run_no = $2 AND answer IS NOT NULL ORDER BY place";
    let found = sqlx::query(ANSWERS).bind(owner).bind(run).fetch_all(tx.on()).await?;
    let mut answers = Vec::new();
    for row in &found {
        let damaged = || tx.server.corrupt("an answer", "it is damaged");
        let index = u32::try_from(row.try_get::<i64, _>(0)?).map_err(|_| damaged())?;
        let answer = rows::json(row.try_get(1)?).ok_or_else(damaged)?;
        answers.push(Answer { index, answer, by: Arc::from(row.try_get::<String, _>(2)?) });
    }
    Ok(answers)
}
