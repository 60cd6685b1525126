//! A Redis of our own, in memory only.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::server::{Ending, Server, guarded};

const TERM: Ending = Ending { word: "TERM", signal: Signal::TERM };

pub(super) fn start(folder: &Path, port: u16) -> Result<Server> {
    let home = folder.join("redis");
    fs::create_dir(&home)?;
    let mut command = guarded(Path::new("redis-server"), TERM, None);
    command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(&home);
    let url = format!("redis://127.0.0.1:{port}");
    Server::start(("redis", url), &mut command, TERM, folder.join("redis.log"), || answers(port))
}

/// One that is still loading answers as well, but not so.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut answer = [0; 5];
    asks(&mut stream, &mut answer).is_ok() && &answer == b"+PONG"
}

fn asks(stream: &mut TcpStream, answer: &mut [u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    stream.read_exact(answer)
}
