//! Lines out of bytes as they come, and server-sent events out of lines.

use crate::Error;

/// The longest line, and the longest event, in bytes.
pub(crate) const LONGEST: usize = 64 << 20;

/// Splits what comes into lines, wherever it was cut on its way. A line ends with `\n` or `\r\n`.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    /// What is before this was given out.
    start: usize,
    /// There is no line's end between the start and this.
    searched: usize,
}

impl Splitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.bytes.len() + bytes.len() > LONGEST {
            return Err(Error::TooLarge { limit: LONGEST });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole line, without its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.bytes.len();
            return None;
        };
        let line = &self.bytes[self.start..end];
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        (self.start, self.searched) = (end + 1, end + 1);
        Some(line)
    }

    /// What came behind the last end of a line.
    pub(crate) fn rest(&mut self) -> Option<String> {
        let rest = String::from_utf8_lossy(&self.bytes[self.start..]).into_owned();
        *self = Self::default();
        (!rest.is_empty()).then_some(rest)
    }
}

/// What a stream of server-sent events says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// It is alive.
    Comment,
    /// An event, with its name if it has one.
    Event { name: String, data: String },
}

/// Reads server-sent events. Ids are left out, because ours are in the data.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    lines: Splitter,
    name: String,
    data: Option<String>,
}

impl Parser {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let held = self.data.as_ref().map_or(0, String::len);
        if held > LONGEST { Err(Error::TooLarge { limit: LONGEST }) } else { self.lines.push(bytes) }
    }

    /// The next whole frame. An event without the blank line behind it is not one yet.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        while let Some(line) = self.lines.line() {
            let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => {
                    let name = std::mem::take(&mut self.name);
                    if let Some(data) = self.data.take() {
                        return Some(Frame::Event { name, data });
                    }
                }
                "" => return Some(Frame::Comment),
                "event" => value.clone_into(&mut self.name),
                "data" => match &mut self.data {
                    Some(data) => data.extend(["\n", value]),
                    none => *none = Some(value.to_owned()),
                },
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a stream says when it comes in pieces of this size.
    fn read(stream: &str, size: usize) -> Vec<Frame> {
        let mut parser = Parser::default();
        stream
            .as_bytes()
            .chunks(size)
            .flat_map(|piece| {
                parser.push(piece).expect("it is short");
                std::iter::from_fn(|| parser.frame()).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn a_stream_says_the_same_wherever_it_is_cut() {
        let event = |name: &str, data: &str| Frame::Event { name: name.to_owned(), data: data.to_owned() };
        let stream = "\u{feff}id: 1\nevent: a\ndata: {\"é\":1}\n\n: alive\n\ndata:x\r\ndata: y\r\n\r\nretry: 9\ndata\n\nevent: b\n\n";
        let expected = [event("a", "{\"é\":1}"), Frame::Comment, event("", "x\ny"), event("", "")];
        for size in 1..stream.len() {
            assert_eq!(read(stream, size), expected, "in pieces of {size} bytes");
        }
    }

    #[test]
    fn an_event_that_was_cut_off_is_none() {
        assert_eq!(read("data: whole\n\ndata: half\n", 7).len(), 1);
        assert_eq!(read("data: half", 7), []);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let mut lines = Splitter::default();
        lines.push(b"one\r\n\ntw").expect("it is short");
        lines.push(b"o").expect("it is short");
        let whole: Vec<String> = std::iter::from_fn(|| lines.line()).collect();
        assert_eq!((whole, lines.rest()), (vec!["one".to_owned(), String::new()], Some("two".to_owned())));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Splitter::default();
        let megabyte = vec![b'x'; 1 << 20];
        let pushed = (0..65).map(|_| lines.push(&megabyte)).find(Result::is_err);
        assert!(matches!(pushed, Some(Err(Error::TooLarge { limit: LONGEST }))));
    }
}
