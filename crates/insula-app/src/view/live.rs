//! A line for each agent of a run, children below their parents.

use indicatif::{ProgressBar, ProgressStyle};

use super::{Pulse, doing, padded};
use crate::{
    board::{Board, Line},
    island::Event,
    output::Output,
};

/// The live view of one run.
pub(crate) struct Live {
    board: Board,
    bars: Vec<ProgressBar>,
    pulse: Pulse,
    output: Output,
    /// The widest name so far, so that columns stay in line.
    widest: usize,
}

impl Live {
    pub(super) fn new(run: String, output: &Output) -> Self {
        let pulse = Pulse::new();
        Self { board: Board::new(run), bars: Vec::new(), pulse, output: output.clone(), widest: 12 }
    }

    pub(super) fn show(&mut self, event: &Event) {
        let Some(change) = self.board.apply(event) else { return };
        if change.is_new {
            self.widest = self.widest.max(name(&self.board.lines()[change.line]).chars().count());
            self.bars.insert(change.line, self.output.live().insert(change.line, bar()));
            self.draw();
        }
        self.draw_line(change.line);
    }

    pub(super) fn tick(&mut self) {
        self.pulse.beat();
        self.draw();
    }

    pub(super) fn finish(&mut self) {
        let width = self.output.width();
        settle(&self.output, (0..self.bars.len()).map(|line| self.text(line, width)));
        self.bars.clear();
    }

    fn draw(&self) {
        (0..self.bars.len()).for_each(|line| self.draw_line(line));
    }

    fn draw_line(&self, at: usize) {
        // The bar itself cuts what is too wide.
        self.bars[at].set_message(self.text(at, usize::MAX));
    }

    fn text(&self, at: usize, width: usize) -> String {
        let (line, paint) = (&self.board.lines()[at], self.output.notes);
        let name = paint.bold(&padded(&name(line), self.widest));
        let age = paint.dim(&format!("{:>8}", self.pulse.age(line)));
        let room = width.saturating_sub(self.widest + 13);
        format!("{} {name} {age}  {}", self.pulse.sign(line.mark, paint), doing(line, paint, room))
    }
}

/// A line of the live view, cut at the terminal's width.
pub(super) fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}

/// Replaces the live lines by ordinary ones, which stay, scroll and wrap as everything else.
pub(super) fn settle(output: &Output, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    // What cannot be cleared is gone with its terminal.
    let _ = output.live().clear();
    lines.iter().for_each(|line| output.note(line));
}

fn name(line: &Line) -> String {
    match line.depth {
        0 => line.agent.clone(),
        depth => format!("{}└ {}", "  ".repeat(depth - 1), line.agent),
    }
}
