//! Where a call comes from and goes on to, as the W3C's Trace Context has it.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// A W3C trace context, passed on to whatever a run calls. Reads and writes itself as the header `traceparent`.
///
/// ```
/// use insula_context::TraceContext;
///
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace: TraceContext = header.parse().unwrap();
/// assert!(trace.sampled);
/// assert_eq!(trace.to_string(), header);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceContext {
    /// The trace, as 32 hexadecimal digits.
    pub trace_id: String,
    /// The span that the context was made in, as 16 hexadecimal digits.
    pub span_id: String,
    /// Whether whoever made it records what belongs to the trace.
    pub sampled: bool,
}

/// The text is no `traceparent`: whoever sent it belongs to no trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent of the W3C's Trace Context")]
pub struct NotATrace;

impl FromStr for TraceContext {
    type Err = NotATrace;

    /// Reads `VERSION-TRACE-SPAN-FLAGS`. Of versions to come it reads what this one has, as the standard wants it.
    fn from_str(text: &str) -> Result<Self, NotATrace> {
        let mut parts = text.split('-');
        let mut part = |digits| parts.next().filter(|part| is_hex(part, digits)).ok_or(NotATrace);
        let (version, trace_id, span_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let has_more = parts.next().is_some();
        if version == "ff" || (version == "00" && has_more) || is_zero(trace_id) || is_zero(span_id) {
            return Err(NotATrace);
        }
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NotATrace)?;
        Ok(Self { trace_id: trace_id.to_owned(), span_id: span_id.to_owned(), sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read(text: &str) -> Result<TraceContext, NotATrace> {
        text.parse()
    }

    #[test]
    fn what_the_standard_allows_is_read() {
        let trace = |sampled| TraceContext { trace_id: TRACE.into(), span_id: SPAN.into(), sampled };
        assert_eq!(read(&format!("00-{TRACE}-{SPAN}-01")), Ok(trace(true)));
        assert_eq!(read(&format!("00-{TRACE}-{SPAN}-00")), Ok(trace(false)));
        assert_eq!(read(&format!("00-{TRACE}-{SPAN}-03")), Ok(trace(true)));
        assert_eq!(read(&format!("cc-{TRACE}-{SPAN}-01-what-comes")), Ok(trace(true)));
    }

    #[test]
    fn what_it_does_not_allow_is_no_trace() {
        let (zeros, zero) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-zz"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{zero}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ] {
            assert_eq!(read(&text), Err(NotATrace), "{text}");
        }
    }
}
