//! `insula answer`.

use insula_context::RunId;
use insula_engine::AnswerTo;
use insula_infra::AnswerRequest;
use serde_json::json;

use super::{Desk, PICKED_UP};
use crate::{
    cli::AnswerArgs,
    exit::{Kind, Stop},
    identity, input, wiring,
};

/// Answers a question of a run. What does not fit is refused with every reason, and the question stays open.
pub(super) async fn answer(desk: &Desk<'_>, args: AnswerArgs) -> Result<(), Stop> {
    let run = RunId::new(&args.run)?;
    let value = input::read(Some(&args.value))?;
    let scope = identity::caller(&desk.settings)?;
    let nothing = || {
        Stop::new(Kind::NotFound, format!("{scope} has no open question of a run {run}"))
            .advise("`insula inbox` lists them; whoever answers first is heard")
    };
    if !wiring::is_there(&desk.settings.database)? {
        return Err(nothing());
    }
    let factory = wiring::factory(&desk.settings)?;
    let given = match args.question {
        Some(index) => AnswerTo::question(index, value),
        None => AnswerTo::the_oldest(value),
    };
    let outcome = factory.answer(&scope, &run, given.by(scope.user().as_str())).await?.ok_or_else(nothing)?;
    if desk.output.json {
        desk.output.json(&json!({"run_id": run, "answer": outcome}))?;
    }
    match outcome {
        AnswerRequest::Answered => Err(Stop::failed("somebody has answered before, and that answer is kept")),
        AnswerRequest::Expired => Err(Stop::failed("the question has expired")),
        AnswerRequest::Recorded if desk.output.json => Ok(()),
        AnswerRequest::Recorded => {
            desk.output.line(format!("{run} has its answer"))?;
            desk.output.note(PICKED_UP);
            Ok(())
        }
    }
}
