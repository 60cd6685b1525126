//! Frames that a client sends over a socket.
#![no_main]

use insula_server::wire::Command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _refused = Command::parse(text);
});
