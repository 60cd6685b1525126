//! `insula answer`.

use insula_context::RunId;
use serde::Deserialize;

use super::Desk;
use crate::{
    cli::AnswerArgs,
    exit::{Kind, Stop},
    input,
};

/// Answers a question of a run. What does not fit is refused with every reason, and the question stays open.
pub(super) async fn answer(desk: &Desk<'_>, args: AnswerArgs) -> Result<(), Stop> {
    #[derive(Deserialize)]
    struct Became {
        answer: String,
    }
    let run = RunId::new(&args.run)?;
    let value = input::read(Some(&args.value))?;
    let island = desk.island()?;
    let Some(said) = island.answer(&run, args.question, value).await? else {
        let message = format!("{} has no open question of a run {run}", island.owner().await);
        return Err(
            Stop::new(Kind::NotFound, message).advise("`insula inbox` lists them; whoever answers first is heard")
        );
    };
    if desk.output.json {
        desk.output.json(&said)?;
    }
    match &*said.read::<Became>()?.answer {
        "answered" => Err(Stop::failed("somebody has answered before, and that answer is kept")),
        "expired" => Err(Stop::failed("the question has expired")),
        _ if desk.output.json => Ok(()),
        _ => {
            desk.output.line(format!("{run} has its answer"))?;
            desk.output.note(island.words().picked_up);
            Ok(())
        }
    }
}
