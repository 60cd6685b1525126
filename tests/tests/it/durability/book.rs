//! What was really done, written down where no crash reaches it: in the memory of the test, or in a process of its own.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// What was done, and under which key.
pub(super) type Note = (String, String);

/// One story's page. A clone is the same page.
#[derive(Debug, Clone)]
pub(super) enum Book {
    Memory(Arc<Mutex<Vec<Note>>>),
    /// Kept by the process that listens here.
    Elsewhere {
        socket: PathBuf,
        story: String,
    },
}

impl Book {
    pub(super) fn here() -> Self {
        Self::Memory(Arc::default())
    }

    /// A page with these notes on it.
    pub(super) fn with(notes: &[Note]) -> Self {
        Self::Memory(Arc::new(Mutex::new(notes.to_vec())))
    }

    /// Returns when it is written down.
    pub(super) fn note(&self, what: &str, key: &str) {
        match self {
            Self::Memory(notes) => notes.lock().unwrap().push((what.to_owned(), key.to_owned())),
            Self::Elsewhere { socket, story } => {
                assert_eq!(ask(socket, &format!("note {story} {what} {key}")), "noted")
            }
        }
    }

    /// Everything, in order.
    pub(super) fn notes(&self) -> Vec<Note> {
        match self {
            Self::Memory(notes) => notes.lock().unwrap().clone(),
            Self::Elsewhere { socket, story } => serde_json::from_str(&ask(socket, &format!("read {story}"))).unwrap(),
        }
    }

    /// Whether this was done.
    pub(super) fn has(&self, what: &str, key: &str) -> bool {
        self.notes().iter().any(|(done, under)| done == what && under == key)
    }

    /// Whether anything was done under a key that begins so.
    pub(super) fn has_under(&self, key: &str) -> bool {
        self.notes().iter().any(|(_, under)| under.starts_with(key))
    }
}

fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer.trim_end().to_owned()
}

/// Keeps everybody's pages until whoever started this process is gone.
pub(super) fn keep(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(|| {
        // The end of its input is the end of its parent.
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let mut pages: Vec<(String, Note)> = Vec::new();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut line = String::new();
        let read = BufReader::new(&stream).read_line(&mut line);
        // Whoever was killed in the middle of a line has not done it.
        if read.is_err() || !line.ends_with('\n') {
            continue;
        }
        let answer = answer(&mut pages, line.trim_end());
        let _asker_gone = writeln!(stream, "{answer}");
    }
}

fn answer(pages: &mut Vec<(String, Note)>, line: &str) -> String {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["note", story, what, key] => {
            pages.push((story.to_owned(), (what.to_owned(), key.to_owned())));
            "noted".to_owned()
        }
        ["read", story] => {
            let page: Vec<&Note> = pages.iter().filter(|(of, _)| of == story).map(|(_, note)| note).collect();
            serde_json::to_string(&page).unwrap()
        }
        _ => "not understood".to_owned(),
    }
}
