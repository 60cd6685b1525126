//! Files of runs.
#![no_main]

use insula_engine::Archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _refused = Archive::read(bytes);
});
