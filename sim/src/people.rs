//! The users: they submit, stop and answer, and ask another node when one does not answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_context::{CancelReason, UserScope};
use insula_engine::{AnswerTo, ExecutionEngineFactory, RunRequest};
use insula_infra::WaitFor;
use serde_json::{Value, json};

use crate::{
    actor::{self, ANSWER_ME},
    book::{Key, Standing},
    cluster::Cluster,
    story::Wishes,
    world::lock,
};

/// How soon a caller who gets no answer asks another node.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks one node after the other until one answers.
async fn until_answered<T, F: Future<Output = Option<T>>>(
    cluster: &Cluster,
    ask: impl Fn(ExecutionEngineFactory) -> F,
) -> T {
    loop {
        if let Some(factory) = cluster.any()
            && let Ok(Some(answer)) = tokio::time::timeout(PATIENCE, ask(factory)).await
        {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Submits a run, and does not rest before it is accepted.
pub(crate) async fn submit(cluster: Arc<Cluster>, scope: UserScope, request: RunRequest) {
    until_answered(&cluster, async |factory| match factory.submit(&scope, request.clone()).await {
        // Whoever asks again is told that it was accepted before.
        Ok(_) | Err(insula_engine::Error::Storage(insula_infra::Error::RunExists { .. })) => Some(()),
        Err(_) => None,
    })
    .await;
}

/// Stops a run, and does not rest before that is known.
pub(crate) async fn cancel(cluster: Arc<Cluster>, wishes: Arc<Mutex<Wishes>>, (scope, run): Key) {
    let why = || CancelReason::new("user", "enough");
    until_answered(&cluster, async |factory| factory.cancel(&scope, &run, why()).await.ok()).await;
    lock(&wishes).stops.insert((scope, run), Some(cluster.world.now()));
}

/// Looks every now and then whether something is asked.
pub(crate) async fn answer_questions(cluster: Arc<Cluster>) {
    loop {
        tokio::time::sleep(Duration::from_millis(cluster.world.rng.between(200, 1_500))).await;
        for ((scope, run), index, answer) in due(&cluster) {
            let Some(factory) = cluster.any() else { continue };
            let answered = factory.answer(&scope, &run, AnswerTo::question(index, answer));
            // Whoever gets no answer looks again later.
            let _in_time = tokio::time::timeout(PATIENCE, answered).await;
        }
    }
}

/// Open questions that somebody answers, with the answers.
fn due(cluster: &Cluster) -> Vec<(Key, u32, Value)> {
    let book = lock(&cluster.world.book);
    let mut due = Vec::new();
    for (key, run) in book.runs.iter().filter(|(_, run)| run.standing != Standing::Ended) {
        for (index, question) in run.questions.iter().filter(|(_, question)| !question.answered) {
            let answer = match question.kind {
                WaitFor::Reconcile => Some(truth(cluster, key, *index, &question.words)),
                _ => (question.words["text"] == ANSWER_ME).then(|| json!("yes")),
            };
            due.extend(answer.map(|answer| (key.clone(), *index, answer)));
        }
    }
    due
}

/// Whether the call that is asked after took effect, by the ledger. Steps say in their name where they stand.
fn truth(cluster: &Cluster, (scope, run): &Key, index: u32, words: &Value) -> Value {
    let ledger = lock(&cluster.world.ledger);
    let text = words["text"].as_str().unwrap_or_default();
    let step = text.split("the step \"step ").nth(1).and_then(|rest| rest.split('"').next());
    let (happened, result) = match step {
        Some(at) => (ledger.at(&actor::place(scope, run, at)).begun > 0, "step"),
        None => (ledger.has_begun(&scope.user().to_string(), &format!("{run}/{index}/")), "done"),
    };
    if happened { json!({"happened": true, "result": result}) } else { json!({"happened": false}) }
}
