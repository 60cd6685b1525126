//! One WebSocket for all threads of a user: commands in, frames out.
//!
//! Events come from the engine's bridge, which reads the log; a client that takes nothing makes the bridge wait, and nobody
//! else. In reading order: `handshake` (who may open one), `session` (one open socket), `commands` (what a client may ask for),
//! `far_end` (events as frames).

mod commands;
mod far_end;
mod handshake;
mod session;

pub(crate) use handshake::{__path_open, open};
