//! Writes a run and its children, line by line, as the log is read.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use insula_context::{RunId, ThreadId, UserScope};
use insula_infra::{Event, JournalEntry, PageRequest, PayloadHash, RunFilter, RunRecord};

use super::{
    Part,
    lines::{Chain, End, FORMAT, Head, PayloadLine, RunLine, VERSION, Written, WrittenEvent, references},
};
use crate::{Error, ExecutionEngineFactory, events, factory, platform::Platform};

/// How many events are read at once.
const PAGE: usize = 512;

impl ExecutionEngineFactory {
    /// Writes a run that has ended, and the children that it started, as lines of JSON. `None` when there is no such run.
    ///
    /// ```
    /// # use insula_context::{RunId, UserScope};
    /// # use insula_engine::{Error, ExecutionEngineFactory, Part};
    /// # async fn example(factory: &ExecutionEngineFactory, ada: &UserScope, run: &RunId) -> Result<(), Error> {
    /// let Some(mut export) = factory.export(ada, run, Part::Shown).await? else { return Ok(()) };
    /// let mut file = String::new();
    /// while let Some(line) = export.next_line().await? {
    ///     file += &line;
    ///     file.push('\n');
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotEnded`] when it has not, [`Error::NotKept`] when events of it were forgotten, [`Error::Storage`].
    pub async fn export(&self, scope: &UserScope, run: &RunId, part: Part) -> Result<Option<Export>, Error> {
        Export::begin(Arc::clone(&self.platform), scope, run, part).await
    }
}

/// The lines of a file, made as they are asked for: whatever its length, it holds a page of events, and the journals of the
/// family where the whole is wanted.
pub struct Export {
    platform: Arc<Platform>,
    scope: UserScope,
    thread: ThreadId,
    part: Part,
    /// The last event of the thread that was read.
    cursor: u64,
    family: BTreeMap<RunId, Member>,
    /// Events of the family that are still to come.
    left: u64,
    written: HashSet<PayloadHash>,
    ready: VecDeque<String>,
    chain: Chain,
    counts: End,
    ended: bool,
}

struct Member {
    /// Until its line is written.
    record: Option<RunRecord>,
    left: u64,
    journal: VecDeque<JournalEntry>,
}

impl Export {
    async fn begin(platform: Arc<Platform>, scope: &UserScope, run: &RunId, part: Part) -> Result<Option<Self>, Error> {
        let Some(record) = platform.backend.runs.run(scope, run).await? else { return Ok(None) };
        refuse_open(&record)?;
        let page = platform.backend.log.run_events(scope, run, 0, 1).await?;
        let first = page.and_then(|page| page.events.first().map(|event| event.seq)).ok_or_else(|| not_kept(run))?;
        let (family, written, ready, counts) = Default::default();
        let mut export = Self {
            platform,
            scope: scope.clone(),
            thread: record.header.thread.clone(),
            part,
            cursor: first - 1,
            family,
            left: 0,
            written,
            ready,
            chain: Chain::default(),
            counts,
            ended: false,
        };
        let head = Head { format: FORMAT.to_owned(), version: VERSION, part, run_id: run.to_string() };
        export.write(&Written::Archive(&head))?;
        export.gather(record).await?;
        Ok(Some(export))
    }

    /// The next line, without its end; `None` after the last. Not cancellation safe: begin again after a dropped call.
    ///
    /// # Errors
    /// As [`ExecutionEngineFactory::export`].
    pub async fn next_line(&mut self) -> Result<Option<String>, Error> {
        while self.ready.is_empty() && !self.ended {
            if self.left == 0 {
                self.finish()?;
            } else {
                self.read_on().await?;
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Takes the run and all that it led to into the family.
    async fn gather(&mut self, root: RunRecord) -> Result<(), Error> {
        let mut parents = vec![root.header.run.clone()];
        self.enter(root)?;
        while let Some(parent) = parents.pop() {
            let filter =
                RunFilter { thread: Some(self.thread.clone()), parent: Some(parent.clone()), ..RunFilter::default() };
            let mut page = PageRequest { cursor: None, limit: PAGE };
            loop {
                let found = self.platform.backend.runs.runs(&self.scope, &filter, &page).await?;
                for child in found.items {
                    parents.push(child.header.run.clone());
                    self.enter(child)?;
                }
                let Some(next) = found.next else { break };
                page.cursor = Some(next);
            }
        }
        Ok(())
    }

    fn enter(&mut self, record: RunRecord) -> Result<(), Error> {
        refuse_open(&record)?;
        let (run, left) = (record.header.run.clone(), record.events);
        self.left += left;
        self.family.insert(run, Member { record: Some(record), left, journal: VecDeque::new() });
        Ok(())
    }

    async fn read_on(&mut self) -> Result<(), Error> {
        let page = self.platform.backend.log.thread_events(&self.scope, &self.thread, self.cursor, PAGE).await?;
        let events = page.map(|page| page.events).unwrap_or_default();
        let Some(last) = events.last() else { return Err(self.missing()) };
        self.cursor = last.seq;
        for event in events {
            if self.left > 0 {
                self.take(event).await?;
            }
        }
        Ok(())
    }

    /// The error of a family of which events are missing.
    fn missing(&self) -> Error {
        let lacking = self.family.iter().find(|(_, member)| member.left > 0);
        let what = lacking.map_or_else(|| "the run".to_owned(), |(run, _)| format!("run {run}"));
        Error::NotKept { what }
    }

    async fn take(&mut self, event: Event) -> Result<(), Error> {
        let run = &event.header.run;
        let Some(member) = self.family.get_mut(run) else { return Ok(()) };
        if let Some(record) = member.record.take() {
            self.introduce(record).await?;
        }
        for hash in references(&event.data).unwrap_or_default() {
            self.write_payload(hash).await?;
        }
        let Some(member) = self.family.get_mut(run) else { return Ok(()) };
        let journal = match self.part {
            Part::Shown => None,
            Part::Whole => member.journal.pop_front().ok_or_else(|| not_kept(run))?.journal,
        };
        member.left = member.left.saturating_sub(1);
        self.left -= 1;
        self.counts.events += 1;
        self.write(&Written::Event(WrittenEvent { event: &event, journal }))
    }

    /// Writes a run's line.
    async fn introduce(&mut self, record: RunRecord) -> Result<(), Error> {
        let header = &record.header;
        if self.part == Part::Whole {
            let journal = self.journal(&record).await?;
            if let Some(member) = self.family.get_mut(&header.run) {
                member.journal = journal;
            }
        }
        let input = factory::whole(&self.platform, &self.scope, &record.input).await?;
        let shown = events::show("the input", &input)?;
        let (input, payload) = match self.part {
            Part::Shown => (shown.shown, shown.payload),
            Part::Whole => shown.stored(),
        };
        if let Some(payload) = payload {
            self.say_payload(payload.hash(), payload.bytes())?;
        }
        let line = RunLine {
            run_id: header.run.to_string(),
            thread_id: header.thread.to_string(),
            user_id: header.scope.user().to_string(),
            parent_run_id: header.parent.as_ref().map(ToString::to_string),
            agent: header.agent.to_string(),
            version: record.version.to_string(),
            status: record.status.as_str().to_owned(),
            created_at: record.created_at,
            events: record.events,
            input,
        };
        self.write(&Written::Run(&line))?;
        self.counts.runs += 1;
        Ok(())
    }

    async fn journal(&self, record: &RunRecord) -> Result<VecDeque<JournalEntry>, Error> {
        let run = &record.header.run;
        let recorded = self.platform.backend.queue.recorded(&self.scope, run).await?.ok_or_else(|| not_kept(run))?;
        if recorded.len() as u64 == record.events { Ok(recorded.into()) } else { Err(not_kept(run)) }
    }

    async fn write_payload(&mut self, hash: PayloadHash) -> Result<(), Error> {
        if self.written.contains(&hash) {
            return Ok(());
        }
        let bytes = self.platform.backend.log.payload(&self.scope, &hash).await?;
        let bytes = bytes.ok_or_else(|| Error::NotKept { what: format!("payload {hash}") })?;
        self.say_payload(hash, &bytes)
    }

    fn say_payload(&mut self, hash: PayloadHash, bytes: &[u8]) -> Result<(), Error> {
        if !self.written.insert(hash) {
            return Ok(());
        }
        let json = |e: std::str::Utf8Error| Error::Json { what: "the payload", problem: e.to_string() };
        let text = std::str::from_utf8(bytes).map_err(json)?.to_owned();
        self.counts.payloads += 1;
        self.write(&Written::Payload(&PayloadLine { hash: hash.to_string(), text }))
    }

    fn finish(&mut self) -> Result<(), Error> {
        let end = End { hash: self.chain.hash().to_owned(), ..self.counts.clone() };
        self.ended = true;
        self.write(&Written::End(&end))
    }

    fn write(&mut self, line: &Written<'_>) -> Result<(), Error> {
        let json = |e: serde_json::Error| Error::Json { what: "the line", problem: e.to_string() };
        let text = serde_json::to_string(line).map_err(json)?;
        self.chain.add(&text);
        self.ready.push_back(text);
        Ok(())
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("part", &self.part).field("left", &self.left).finish_non_exhaustive()
    }
}

fn refuse_open(record: &RunRecord) -> Result<(), Error> {
    if record.status.is_terminal() {
        return Ok(());
    }
    Err(Error::NotEnded { run: record.header.run.clone(), status: record.status })
}

fn not_kept(run: &RunId) -> Error {
    Error::NotKept { what: format!("run {run}") }
}
