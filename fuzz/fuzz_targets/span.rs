//! Durations and times as people write them.
#![no_main]

use insula_context::Timestamp;
use insula_server::wire::Span;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i64, &str)| {
    let (now, text) = input;
    if let Ok(span) = Span::parse(text) {
        let _long = span.from(Timestamp::from_micros(now));
    }
});
