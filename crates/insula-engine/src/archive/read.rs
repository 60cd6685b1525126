//! Reads a file, line by line, and refuses whatever is not what an export writes.

use std::{
    collections::HashMap,
    io::{BufRead, Read},
};

use insula_context::{RunId, ThreadId};
use insula_infra::{EventType, NewEvent, Payload, PayloadHash, RunStatus};

use super::{
    Archive, ArchivedRun,
    import::ending,
    lines::{Chain, End, EventLine, FORMAT, Head, Line, PayloadLine, RunLine, VERSION, references},
};
use crate::{Error, events};

impl Archive {
    /// Reads a file to its end. It blocks: hand it bytes that are there, or a thread that may wait.
    ///
    /// ```
    /// use insula_engine::{Archive, Error};
    ///
    /// let refused = Archive::read(&b"{\"archive\": 1}"[..]).unwrap_err();
    /// assert!(matches!(refused, Error::Archive { line: 1, .. }));
    /// ```
    ///
    /// # Errors
    /// [`Error::Archive`] names the line and what is wrong with it: it is no line of such a file, a payload or the whole
    /// has another hash than it says, something is missing, or more than is accepted.
    pub fn read(source: impl BufRead) -> Result<Self, Error> {
        let mut source = source.take(Self::MOST_BYTES + 1);
        let mut reading = Reading::default();
        while let Some(line) = reading.next_line(&mut source)? {
            let taken = reading.take(&line);
            taken.map_err(|problem| reading.refuse(problem))?;
        }
        let whole = reading.whole();
        whole.map_err(|problem| Error::Archive { line: reading.line, problem })
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    /// The number of the line, from 1.
    line: u64,
    bytes: u64,
    head: Option<(Head, RunId)>,
    runs: Vec<ArchivedRun>,
    /// Where each run is, and how many events are due.
    places: HashMap<RunId, (usize, u64)>,
    payloads: HashMap<PayloadHash, Payload>,
    chain: Chain,
    counts: End,
    ended: bool,
}

type Checked<T = ()> = Result<T, String>;

impl Reading {
    fn refuse(&self, problem: String) -> Error {
        Error::Archive { line: self.line, problem }
    }

    fn next_line(&mut self, source: &mut impl BufRead) -> Result<Option<String>, Error> {
        self.line += 1;
        let mut line = Vec::new();
        let read = source.take(Archive::MOST_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| self.refuse(format!("it cannot be read: {error}")))?;
        if read == 0 {
            return Ok(None);
        }
        self.bytes += read as u64;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let problem = if line.len() as u64 > Archive::MOST_LINE_BYTES {
            format!("it has more than {} bytes", Archive::MOST_LINE_BYTES)
        } else if self.bytes > Archive::MOST_BYTES {
            format!("the file has more than {} bytes", Archive::MOST_BYTES)
        } else if self.line > Archive::MOST_LINES {
            format!("the file has more than {} lines", Archive::MOST_LINES)
        } else {
            return String::from_utf8(line).map(Some).map_err(|_| self.refuse("it is not UTF-8".to_owned()));
        };
        Err(self.refuse(problem))
    }

    fn take(&mut self, text: &str) -> Checked {
        if self.ended {
            return Err("it follows the last line".to_owned());
        }
        let line: Line = serde_json::from_str(text).map_err(|error| format!("it is no line of an archive: {error}"))?;
        if self.head.is_none() && !matches!(line, Line::Archive(_)) {
            return Err(format!("a file begins with \"archive\", and this is \"{}\"", line.name()));
        }
        match line {
            Line::Archive(head) => self.begin(head)?,
            Line::Run(run) => self.run(run)?,
            Line::Payload(payload) => self.payload(payload)?,
            Line::Event(event) => self.event(event)?,
            Line::End(end) => self.end(&end)?,
        }
        self.chain.add(text);
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Checked {
        if self.head.is_some() {
            return Err("a file begins once".to_owned());
        }
        if head.format != FORMAT {
            return Err(format!("the format is \"{}\", and \"{FORMAT}\" is read here", head.format));
        }
        if head.version != VERSION {
            return Err(format!("the version is {}, and {VERSION} is read here", head.version));
        }
        let run = id(&head.run_id)?;
        self.head = Some((head, run));
        Ok(())
    }

    fn run(&mut self, line: RunLine) -> Checked {
        let run = id(&line.run_id)?;
        let thread = ThreadId::new(&line.thread_id).map_err(|error| error.to_string())?;
        let parent = line.parent_run_id.as_deref().map(id).transpose()?;
        let is_first = self.runs.is_empty();
        let named = self.head.as_ref().map(|(_, named)| named);
        if is_first && named != Some(&run) {
            return Err(format!("the first run is {run}, and the first line names another"));
        }
        // A run that was a child stands for itself where its parent is not in the file.
        let parent = parent.filter(|_| !is_first);
        if !is_first && !parent.as_ref().is_some_and(|parent| self.places.contains_key(parent)) {
            return Err(format!("run {run} is not the child of a run before it"));
        }
        if self.places.contains_key(&run) {
            return Err(format!("run {run} is there already"));
        }
        let status = RunStatus::parse(&line.status).filter(|status| status.is_terminal());
        let status = status.ok_or_else(|| format!("\"{}\" is not the status of a run that has ended", line.status))?;
        if line.agent.trim().is_empty() || line.agent.chars().any(char::is_control) {
            return Err("the agent has no name".to_owned());
        }
        self.refers(&events::reference(&line.input).into_iter().collect::<Vec<_>>())?;
        self.places.insert(run.clone(), (self.runs.len(), line.events));
        self.counts.runs += 1;
        self.runs.push(ArchivedRun {
            run,
            thread,
            parent,
            agent: line.agent.into(),
            version: line.version.into(),
            status,
            input: line.input,
            created_at: line.created_at,
            events: Vec::new(),
        });
        Ok(())
    }

    fn payload(&mut self, line: PayloadLine) -> Checked {
        let named: PayloadHash = line.hash.parse().map_err(|error| format!("\"{}\": {error}", line.hash))?;
        let payload = Payload::new(line.text.into_bytes());
        if payload.hash() != named {
            return Err(format!("payload {named} was changed: its text has the hash {}", payload.hash()));
        }
        self.counts.payloads += 1;
        match self.payloads.insert(named, payload) {
            Some(_) => Err(format!("payload {named} is there already")),
            None => Ok(()),
        }
    }

    fn event(&mut self, line: EventLine) -> Checked {
        let run = id(&line.run_id)?;
        let kind = EventType::parse(&line.kind).ok_or_else(|| format!("\"{}\" is no type of event", line.kind))?;
        let referred = references(&line.data).map_err(|error| format!("its data is no object: {error}"))?;
        self.refers(&referred)?;
        let Some((place, due)) = self.places.get(&run).copied() else {
            return Err(format!("run {run} is not there before it"));
        };
        let member = &mut self.runs[place];
        if member.events.last().is_some_and(|last| last.kind.is_terminal()) {
            return Err(format!("it follows the end of run {run}"));
        }
        if member.events.last().is_some_and(|last| last.at > line.timestamp) {
            return Err(format!("it is earlier than the event of run {run} before it"));
        }
        if kind.is_terminal() && kind != terminal(member.status) {
            return Err(format!("{kind} is not the end of a run that is {}", member.status.as_str()));
        }
        if member.events.len() as u64 == due {
            return Err(format!("run {run} has more than {due} events"));
        }
        let event = NewEvent { kind, at: line.timestamp, data: line.data, journal: line.journal };
        if kind.is_terminal() {
            ending(&event).map_err(|problem| format!("it does not say how the run ended: {problem}"))?;
        }
        member.events.push(event);
        self.counts.events += 1;
        Ok(())
    }

    fn refers(&self, hashes: &[PayloadHash]) -> Checked {
        match hashes.iter().find(|hash| !self.payloads.contains_key(*hash)) {
            Some(hash) => Err(format!("it refers to payload {hash}, which is not there before it")),
            None => Ok(()),
        }
    }

    fn end(&mut self, end: &End) -> Checked {
        let found = End { hash: self.chain.hash().to_owned(), ..self.counts.clone() };
        if *end != found {
            return Err("the lines before were changed: they are not those that it counts".to_owned());
        }
        for member in &self.runs {
            if !member.events.last().is_some_and(|last| last.kind.is_terminal()) {
                return Err(format!("run {} has no end", member.run));
            }
            if self.places.get(&member.run).is_none_or(|(_, due)| *due != member.events.len() as u64) {
                return Err(format!("run {} lacks events", member.run));
            }
        }
        self.ended = true;
        Ok(())
    }

    fn whole(&mut self) -> Checked<Archive> {
        let head = self.head.take().ok_or("the file is empty")?.0;
        if !self.ended || self.runs.is_empty() {
            return Err("the file was cut short: its last line is missing".to_owned());
        }
        let (runs, payloads) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.payloads));
        Ok(Archive { part: head.part, runs, payloads })
    }
}

fn id(text: &str) -> Checked<RunId> {
    RunId::new(text).map_err(|error| error.to_string())
}

const fn terminal(status: RunStatus) -> EventType {
    match status {
        RunStatus::Completed => EventType::AgentCompleted,
        RunStatus::Cancelled => EventType::AgentCancelled,
        _ => EventType::AgentFailed,
    }
}
