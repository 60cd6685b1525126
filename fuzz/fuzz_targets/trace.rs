//! The header `traceparent`: what is read is written as it was.
#![no_main]

use insula_context::TraceContext;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(trace) = text.parse::<TraceContext>() {
        let again: TraceContext = trace.to_string().parse().expect("what was written is read");
        assert_eq!(trace, again);
    }
});
