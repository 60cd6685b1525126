//! The body of a chunk: the events of one append as compact JSON, written and read without parsing their data. For backends:
//! the same bytes in every database, so that they can be moved from one to another as they are.

use insula_context::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{EventType, NewEvent, RawJson};

/// The events of one append, ready to be stored.
#[derive(Debug)]
pub struct Chunk {
    /// What is stored.
    pub body: Vec<u8>,
    /// How many events it holds.
    pub count: u64,
    /// The time of the first event, in microseconds.
    pub first_at: i64,
    /// The time of the last event, in microseconds.
    pub last_at: i64,
}

impl Chunk {
    /// `None` when there are no events. Times do not decrease, and none is before `floor`.
    pub fn encode(events: &[NewEvent], floor: i64) -> Option<Self> {
        let first_at = events.first()?.at.as_micros().max(floor);
        let mut body = Vec::with_capacity(events.iter().map(|event| event.data.get().len() + 96).sum());
        let mut last_at = first_at;
        for (n, event) in events.iter().enumerate() {
            last_at = last_at.max(event.at.as_micros());
            body.push(if n == 0 { b'[' } else { b',' });
            push_event(&mut body, event, last_at);
        }
        body.push(b']');
        Some(Self { body, count: events.len() as u64, first_at, last_at })
    }
}

impl Chunk {
    /// The same events, none of them before `floor`.
    ///
    /// # Errors
    /// When the body is not one that was encoded here.
    pub fn not_before(&self, floor: i64) -> Result<Self, serde_json::Error> {
        let stored = decode(&self.body)?;
        let read = |event: &Stored<'_>| {
            let at = Timestamp::from_micros(event.at);
            Some(NewEvent { kind: event.kind()?, at, data: event.data(), journal: event.journal() })
        };
        let events: Vec<_> = stored.iter().filter_map(read).collect();
        let empty = || serde::de::Error::custom("a chunk without events");
        Self::encode(&events, floor).ok_or_else(empty)
    }
}

fn push_event(body: &mut Vec<u8>, event: &NewEvent, at: i64) {
    use std::io::Write;
    // Writing into a vector does not fail.
    let _ = write!(body, r#"{{"t":"{}","at":{at},"d":{}"#, event.kind, event.data.get());
    if let Some(journal) = &event.journal {
        let _ = write!(body, r#","j":{}"#, journal.get());
    }
    body.push(b'}');
}

/// One event of a body.
#[derive(Debug, Deserialize)]
pub struct Stored<'a> {
    t: &'a str,
    /// When it happened, in microseconds.
    pub at: i64,
    #[serde(borrow)]
    d: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    j: Option<&'a RawValue>,
}

/// A recorded null is a value, not an absence.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Stored<'_> {
    /// What kind of event it is; `None` for a word that this build does not know.
    pub fn kind(&self) -> Option<EventType> {
        EventType::parse(self.t)
    }

    /// What readers see.
    pub fn data(&self) -> RawJson {
        RawJson::from(self.d.to_owned())
    }

    /// What only a resumed run sees.
    pub fn journal(&self) -> Option<RawJson> {
        self.j.map(|journal| RawJson::from(journal.to_owned()))
    }
}

/// Reads a body back.
///
/// # Errors
/// When it is not one that was encoded here.
pub fn decode(body: &[u8]) -> Result<Vec<Stored<'_>>, serde_json::Error> {
    serde_json::from_slice(body)
}

/// A checksum that notices any change of up to eight bytes in a row for certain, and any other with 1 − 2⁻⁶⁴.
///
/// It is stored: it must never change. Not for use against somebody who means to deceive.
pub fn checksum(body: &[u8]) -> i64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = body.as_chunks::<8>();
    let sum = words.iter().fold(body.len() as u64, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(sum, u64::from_le_bytes(last)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, data: &str, journal: Option<&str>) -> NewEvent {
        let raw = |text: &str| RawJson::from(RawValue::from_string(text.to_owned()).expect("JSON"));
        let (data, journal) = (raw(data), journal.map(raw));
        NewEvent { kind: EventType::Custom, at: Timestamp::from_micros(at), data, journal }
    }

    #[test]
    fn reads_back_what_was_written_with_times_that_never_decrease() {
        let events = [event(5, r#"{"a":"\u00e9\n"}"#, None), event(3, "[1, 2]", Some("null")), event(9, "0", None)];
        let chunk = Chunk::encode(&events, 4).expect("events");
        let read = decode(&chunk.body).expect("decodes");
        let read: Vec<_> = read.iter().map(|e| (e.at, e.data().get().to_owned(), e.journal().is_some())).collect();
        let written = [(5, r#"{"a":"\u00e9\n"}"#, false), (5, "[1, 2]", true), (9, "0", false)];
        assert_eq!(read, written.map(|(at, data, journal)| (at, data.to_owned(), journal)));
        assert_eq!((chunk.first_at, chunk.last_at, chunk.count), (5, 9, 3));
        assert!(Chunk::encode(&[], 0).is_none());
        let later = chunk.not_before(7).expect("decodes");
        let times: Vec<_> = decode(&later.body).expect("decodes").iter().map(|event| event.at).collect();
        assert_eq!((times, later.first_at, later.last_at, later.count), (vec![7, 7, 9], 7, 9, 3));
    }

    #[test]
    fn the_checksum_is_the_one_that_is_stored_and_notices_every_flipped_bit() {
        let body = *b"[{\"t\":\"custom\"}]...";
        assert_eq!(checksum(b""), 0);
        let right = checksum(&body);
        for bit in 0..body.len() * 8 {
            let mut wrong = body;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&wrong), right);
        }
    }
}
