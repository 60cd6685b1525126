//! `insula export`, `import`, `replay`.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
};

use futures::TryStreamExt;
use insula_client::Json;
use insula_context::{RunId, ThreadId};
use insula_engine::{Archive, Part};
use serde::Deserialize;
use serde_json::json;

use super::{Desk, no_run};
use crate::{
    cli::{ExportArgs, ImportArgs, ReplayArgs},
    exit::{Kind, Stop},
    identity,
    island::RunFile,
    wiring, words,
};

/// Writes a run and its children, line by line.
pub(super) async fn export(desk: &Desk<'_>, args: ExportArgs) -> Result<(), Stop> {
    let (island, run) = (desk.island()?, RunId::new(&args.run)?);
    let part = if args.whole { Part::Whole } else { Part::Shown };
    let Some(mut export) = island.export(&run, part).await? else { return Err(no_run(&*island, &run).await) };
    let mut file = args.output.as_deref().map(create).transpose()?;
    let mut lines = 0;
    while let Some(line) = export.try_next().await? {
        match (&mut file, &args.output) {
            (Some(file), Some(path)) => writeln!(file, "{line}").map_err(|error| unwritten(path, error))?,
            _ => desk.output.line(line)?,
        }
        lines += 1;
    }
    let (Some(file), Some(path)) = (file, &args.output) else { return Ok(()) };
    file.sync_all().map_err(|error| unwritten(path, error))?;
    if desk.output.json {
        return desk.output.json(&json!({"run_id": run, "part": part, "file": path, "lines": lines}));
    }
    desk.output.note(format!("{} {}", desk.output.notes.green("written"), path.display()));
    Ok(())
}

/// A new file that only this user may read: it may hold secrets.
fn create(path: &Path) -> Result<File, Stop> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        Stop::usage(format!("{} cannot be made", path.display()))
            .because(error)
            .advise("name a file that does not exist yet, in a folder that does")
    })
}

fn unwritten(path: &Path, error: std::io::Error) -> Stop {
    Stop::failed(format!("{} could not be written to its end", path.display())).because(error)
}

fn read(path: &Path) -> Result<RunFile, Stop> {
    let mut bytes = Vec::new();
    // One byte more than is accepted is enough to be refused.
    let most = Archive::MOST_BYTES + 1;
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        _ => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| {
        Stop::usage(format!("{} cannot be read", path.display()))
            .because(error)
            .advise("name a file that `insula export` wrote")
    })?;
    let archive = Archive::read(&bytes[..]).map_err(|error| match error {
        error @ insula_engine::Error::Archive { .. } => {
            Stop::usage(format!("{}: {error}", path.display())).advise("`insula export RUN -o FILE` writes such a file")
        }
        error => error.into(),
    })?;
    Ok(RunFile { bytes, archive })
}

/// Takes a file in.
pub(super) async fn import(desk: &Desk<'_>, args: ImportArgs) -> Result<(), Stop> {
    #[derive(Deserialize)]
    struct Imported {
        run_id: String,
        thread_id: String,
        runs: u64,
        events: u64,
    }
    let island = desk.island()?;
    let thread = args.thread.map(ThreadId::new).transpose()?;
    let said = island.import(read(&args.file)?, thread.as_ref()).await?;
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Imported { run_id, thread_id, runs, events } = said.read()?;
    desk.output.line(run_id)?;
    let owner = island.owner().await;
    desk.output.note(format!("taken in: {runs} run(s) with {events} events, now of {owner} in thread {thread_id}"));
    Ok(())
}

/// What came of executing a run again.
#[derive(Deserialize)]
struct Replayed {
    agent: String,
    #[serde(default)]
    recorded_version: Option<String>,
    version: String,
    calls: u64,
    said: u64,
    #[serde(default)]
    difference: Option<Difference>,
}

#[derive(Deserialize)]
struct Difference {
    place: String,
    recorded: String,
    replayed: String,
}

/// Executes a run again against its record. A difference is the exit code of a failed check.
pub(super) async fn replay(desk: &Desk<'_>, args: ReplayArgs) -> Result<(), Stop> {
    let path = Path::new(&args.what);
    let said = if args.what == "-" || path.is_file() {
        replay_file(desk, path).await?
    } else {
        replay_run(desk, &args.what).await?
    };
    let replay: Replayed = said.read()?;
    if desk.output.json {
        desk.output.json(&said)?;
    } else {
        show(desk, &replay)?;
    }
    if replay.difference.is_none() { Ok(()) } else { Err(Stop::silently(Kind::Failed)) }
}

/// By the agents of this binary: nothing is written, so there need be neither database nor server.
async fn replay_file(desk: &Desk<'_>, path: &Path) -> Result<Json, Stop> {
    let (scope, file) = (identity::caller(&desk.settings)?, read(path)?);
    let replay = wiring::without_storage(&desk.settings)?.replay_archive(&scope, &file.archive).await?;
    Ok(Json::of(&replay)?)
}

async fn replay_run(desk: &Desk<'_>, run: &str) -> Result<Json, Stop> {
    let (island, run) = (desk.island()?, RunId::new(run)?);
    match island.replay(&run).await? {
        Some(said) => Ok(said),
        None => Err(no_run(&*island, &run).await),
    }
}

fn show(desk: &Desk<'_>, replay: &Replayed) -> Result<(), Stop> {
    let (output, paint) = (desk.output, desk.output.results);
    let compared = format!("{} calls and {} things said were compared", replay.calls, replay.said);
    let version = replay.recorded_version.as_deref().unwrap_or("never started");
    let who = format!("{} (recorded: version {version}, here: version {})", replay.agent, replay.version);
    let Some(difference) = &replay.difference else {
        return output.line(format!("{} {who}: no difference; {compared}", paint.green("same")));
    };
    output.line(format!("{} {who}: {}; {compared}", paint.red("differs"), words::plain(&difference.place)))?;
    let width = output.result_width().unwrap_or(100).saturating_sub(4) / 2;
    output.line(paint.bold(&beside("recorded", "replayed", width)))?;
    for (then, now) in from_the_first_difference(&difference.recorded, &difference.replayed) {
        output.line(beside(&then, &now, width))?;
    }
    Ok(())
}

/// How many lines of two sides are shown.
const SHOWN: usize = 12;

/// The lines of both sides from one before the first that differs.
fn from_the_first_difference(then: &str, now: &str) -> Vec<(String, String)> {
    let (then, now): (Vec<&str>, Vec<&str>) = (then.lines().collect(), now.lines().collect());
    let same = then.iter().zip(&now).take_while(|(then, now)| then == now).count();
    let line = |side: &[&str], n: usize| side.get(n).map_or_else(String::new, |line| words::plain(line).to_string());
    let last = then.len().max(now.len());
    (same.saturating_sub(1)..last).take(SHOWN).map(|n| (line(&then, n), line(&now, n))).collect()
}

fn beside(then: &str, now: &str, width: usize) -> String {
    let then = words::cut(then, width);
    let gap = " ".repeat(width.saturating_sub(then.chars().count()));
    format!("{then}{gap}  | {}", words::cut(now, width)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_among_those_shown() {
        let lines: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
        let mut other = lines.clone();
        other[30] = "another".to_owned();
        let shown = from_the_first_difference(&lines.join("\n"), &other.join("\n"));
        assert_eq!(shown[0], ("line 29".to_owned(), "line 29".to_owned()));
        assert_eq!(shown[1], ("line 30".to_owned(), "another".to_owned()));
        assert_eq!(from_the_first_difference("a", "a\nb")[1], (String::new(), "b".to_owned()));
    }

    #[test]
    fn two_sides_stand_beside_each_other() {
        assert_eq!(beside("ab", "c", 4), "ab    | c");
        assert_eq!(beside("abcdefgh", "c", 4).chars().count(), 9);
    }
}
