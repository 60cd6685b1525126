//! The two places where commands are done, each with somebody who works on the queue.

use std::process::{Child, Command};

use serde_json::Value;

use super::super::harness::{Desk, Said};
use crate::server::process::Process;

/// Waiting for questions is parked soon, so that a test need not wait long.
const SETTINGS: &[&str] = &["limits.park_after=50ms"];

/// A place where commands are done.
pub(super) struct Side {
    pub(super) desk: Desk,
    place: Place,
}

enum Place {
    Here(Child),
    There(Server),
}

/// A server, and where its data is.
pub(super) struct Server {
    process: Option<Process>,
    data: Desk,
    url: String,
}

impl Side {
    /// The database of this desk, with a process that works on it.
    pub(super) fn here() -> Self {
        let desk = Desk::new();
        let mut work = desk.command(&["work"]);
        work.args(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        let work = work.spawn().unwrap();
        Self { desk, place: Place::Here(work) }
    }

    /// A server that is asked from this desk.
    pub(super) fn there() -> Self {
        let (desk, data) = (Desk::new(), Desk::new());
        let process = Process::start_at(&data.path(""), "127.0.0.1:0", SETTINGS);
        desk.write("key", process.key.as_ref().unwrap());
        let url = process.url.clone();
        Self { desk, place: Place::There(Server { process: Some(process), data, url }) }
    }

    pub(super) fn server(&mut self) -> &mut Server {
        match &mut self.place {
            Place::There(server) => server,
            Place::Here(_) => panic!("there is no server here"),
        }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.desk.command(arguments);
        if let Place::There(server) = &self.place {
            command.env("INSULA_SERVER", &server.url).env("INSULA_KEY", "@key");
        }
        command
    }

    pub(super) fn insula(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.insula(arguments);
        serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}{}", said.out, said.err))
    }
}

impl Server {
    /// Ends it as a loss of power does.
    pub(super) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// The same server again: its data, its address, its keys.
    pub(super) fn start(&mut self) {
        let address = self.url.trim_start_matches("http://");
        self.process = Some(Process::start_at(&self.data.path(""), address, SETTINGS));
    }

    pub(super) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Here(work) = self {
            let _gone = work.kill();
            let _code = work.wait();
        }
    }
}
