//! How runs look while they live: lines that change in place on a terminal, lines that follow one another in a pipe. Both
//! are driven by events alone.

mod crowd;
mod lines;
mod live;

use insula_context::{Clock, SystemClock};

use crate::{
    board::{Line, Mark},
    island::Event,
    output::{Output, Palette},
    words,
};
pub(crate) use crowd::Crowd;
pub(crate) use lines::{event_line, event_line_with_place};
use live::Live;

/// Shows one run with its children.
pub(crate) enum Progress {
    Live(Live),
    Plain(Output),
}

impl Progress {
    /// A view of a run that fits where standard error leads.
    pub(crate) fn of(run: &str, output: &Output) -> Self {
        if output.notes_on_terminal {
            Self::Live(Live::new(run.to_owned(), output))
        } else {
            Self::Plain(output.clone())
        }
    }

    /// Takes in an event of the run or of one below it.
    pub(crate) fn show(&mut self, event: &Event) {
        match self {
            Self::Live(live) => live.show(event),
            Self::Plain(output) => output.note(event_line(event, output, output.notes)),
        }
    }

    /// Lets the times go on.
    pub(crate) fn tick(&mut self) {
        if let Self::Live(live) = self {
            live.tick();
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&mut self) {
        if let Self::Live(live) = self {
            live.finish();
        }
    }
}

/// Something about the way to what is shown, beside it.
pub(crate) fn note(output: &Output, note: &str) {
    output.note(output.notes.yellow(&words::plain(note)));
}

/// The moving sign of something alive.
#[derive(Debug)]
struct Pulse {
    clock: SystemClock,
    beat: usize,
}

impl Pulse {
    const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

    fn new() -> Self {
        Self { clock: SystemClock::new(), beat: 0 }
    }

    fn beat(&mut self) {
        self.beat = (self.beat + 1) % Self::FRAMES.len();
    }

    fn sign(&self, mark: Mark, paint: Palette) -> String {
        match mark {
            Mark::Running => paint.cyan(Self::FRAMES[self.beat]),
            Mark::Waiting => paint.yellow("◌"),
            Mark::Done => paint.green("✓"),
            Mark::Failed => paint.red("✗"),
            Mark::Cancelled => paint.yellow("■"),
        }
    }

    fn age(&self, line: &Line) -> String {
        words::duration(line.age(self.clock.now()))
    }
}

/// What a line does, in the colour of how it stands, cut where there is no more room.
fn doing(line: &Line, paint: Palette, room: usize) -> String {
    let text = words::cut(&line.doing, room);
    match line.mark {
        Mark::Failed => paint.red(&text),
        Mark::Cancelled | Mark::Waiting => paint.yellow(&text),
        Mark::Done => paint.dim(&text),
        Mark::Running => text,
    }
}

/// Text filled up to a width. Names here are short and have one column per character.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}
