//! A line for each user of the demo: who, for how long, which agent, what it does.

use indicatif::ProgressBar;

use super::{
    Pulse, doing, event_line,
    live::{bar, settle},
    padded,
};
use crate::{board::Board, island::Event, output::Output, words};

/// Shows the runs of several users at once.
pub(crate) struct Crowd {
    people: Vec<Person>,
    pulse: Pulse,
    output: Output,
    /// The widest user's and agent's name.
    widest: (usize, usize),
}

struct Person {
    name: String,
    board: Board,
    bar: ProgressBar,
}

impl Crowd {
    /// A line for each user, and the run that it is about.
    pub(crate) fn new(users: impl IntoIterator<Item = (String, String)>, output: &Output) -> Self {
        let person = |(name, run)| Person { name, board: Board::new(run), bar: output.live().add(bar()) };
        let people: Vec<Person> = users.into_iter().map(person).collect();
        let widest = (people.iter().map(|person| person.name.chars().count()).max().unwrap_or(0), 12);
        Self { people, pulse: Pulse::new(), output: output.clone(), widest }
    }

    /// Takes in an event that this user's reader has read.
    pub(crate) fn show(&mut self, person: usize, event: &Event) {
        let name = self.people[person].name.clone();
        if self.people[person].board.apply(event).is_none() {
            return;
        }
        if self.output.notes_on_terminal {
            self.widest.1 = self.widest.1.max(event.agent.chars().count());
            self.draw(person);
        } else {
            let line = event_line(event, &self.output, self.output.notes);
            // The user stands where a run alone has its agent.
            let (time, rest) = line.split_once(' ').unwrap_or((&line, ""));
            self.output.note(format!("{time} {} {rest}", words::plain(&name)));
        }
    }

    /// Lets the times go on.
    pub(crate) fn tick(&mut self) {
        if self.output.notes_on_terminal {
            self.pulse.beat();
            (0..self.people.len()).for_each(|person| self.draw(person));
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&mut self) {
        if self.output.notes_on_terminal {
            let width = self.output.width();
            settle(&self.output, self.people.iter().map(|person| self.text(person, width)));
        }
        self.people.clear();
    }

    fn draw(&self, person: usize) {
        let person = &self.people[person];
        person.bar.set_message(self.text(person, usize::MAX));
    }

    fn text(&self, Person { name, board, .. }: &Person, width: usize) -> String {
        let (paint, widest) = (self.output.notes, self.widest);
        let name = paint.bold(&padded(name, widest.0));
        let Some((root, current)) = board.root().zip(board.current()) else { return format!("  {name}") };
        let tools: usize = board.lines().iter().map(|line| line.tools).sum();
        let figures = paint.dim(&format!("{:>8}  {tools:>2} tools", self.pulse.age(root)));
        let agent = paint.cyan(&padded(&current.agent, widest.1));
        let room = width.saturating_sub(widest.0 + widest.1 + 25);
        let said = doing(if board.has_ended() { root } else { current }, paint, room);
        format!("{} {name} {figures}  {agent}  {said}", self.pulse.sign(root.mark, paint))
    }
}
