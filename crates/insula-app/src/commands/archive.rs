//! `insula export`, `import`, `replay`.

use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Write},
    path::Path,
};

use insula_context::{RunId, ThreadId};
use insula_engine::{Archive, Part, Replay};
use serde_json::json;

use super::{Desk, keeping::existing, keeping::no_run};
use crate::{
    cli::{ExportArgs, ImportArgs, ReplayArgs},
    exit::{Kind, Stop},
    identity, wiring, words,
};

/// Writes a run and its children, line by line.
pub(super) async fn export(desk: &Desk<'_>, args: ExportArgs) -> Result<(), Stop> {
    let (scope, run) = (identity::caller(&desk.settings)?, RunId::new(&args.run)?);
    let part = if args.whole { Part::Whole } else { Part::Shown };
    let factory = existing(desk)?.ok_or_else(|| no_run(&scope, &run))?;
    let mut export = factory.export(&scope, &run, part).await?.ok_or_else(|| no_run(&scope, &run))?;
    let mut file = args.output.as_deref().map(create).transpose()?;
    let mut lines = 0;
    while let Some(line) = export.next_line().await? {
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

fn read(path: &Path) -> Result<Archive, Stop> {
    if path == Path::new("-") {
        return Ok(Archive::read(std::io::stdin().lock())?);
    }
    let file = File::open(path).map_err(|error| {
        Stop::usage(format!("{} cannot be read", path.display()))
            .because(error)
            .advise("name a file that `insula export` wrote")
    })?;
    Archive::read(BufReader::new(file)).map_err(|error| match error {
        error @ insula_engine::Error::Archive { .. } => {
            Stop::usage(format!("{}: {error}", path.display())).advise("`insula export RUN -o FILE` writes such a file")
        }
        error => error.into(),
    })
}

/// Takes a file in.
pub(super) async fn import(desk: &Desk<'_>, args: ImportArgs) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let thread = args.thread.map(ThreadId::new).transpose()?;
    let archive = read(&args.file)?;
    let factory = wiring::factory(&desk.settings)?;
    let imported = factory.import(&scope, &archive, thread).await?;
    if desk.output.json {
        return desk.output.json(&imported);
    }
    desk.output.line(imported.run_id.to_string())?;
    let (runs, events, thread) = (imported.runs, imported.events, &imported.thread_id);
    desk.output.note(format!("taken in: {runs} run(s) with {events} events, now of {scope} in thread {thread}"));
    Ok(())
}

/// Executes a run again against its record. A difference is the exit code of a failed check.
pub(super) async fn replay(desk: &Desk<'_>, args: ReplayArgs) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let path = Path::new(&args.what);
    let replay = if args.what == "-" || path.is_file() {
        let archive = read(path)?;
        // Nothing is written, so there need be no database.
        wiring::without_storage(&desk.settings)?.replay_archive(&scope, &archive).await?
    } else {
        let run = RunId::new(&args.what)?;
        let factory = existing(desk)?.ok_or_else(|| no_run(&scope, &run))?;
        factory.replay(&scope, &run).await?.ok_or_else(|| no_run(&scope, &run))?
    };
    if desk.output.json {
        desk.output.json(&replay)?;
    } else {
        show(desk, &replay)?;
    }
    if replay.is_same() { Ok(()) } else { Err(Stop::silently(Kind::Failed)) }
}

fn show(desk: &Desk<'_>, replay: &Replay) -> Result<(), Stop> {
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
