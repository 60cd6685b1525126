//! Values of agents' statements: how they are written as parameters, and read from rows. Both go as text, which the server
//! itself turns into whatever type is wanted there, those that an agent has made included.

use std::{fmt::Write, sync::Arc};

use insula_context::{SqlRow, SqlValue};
use insula_infra::Error;
use sqlx::{
    Column, Row,
    postgres::{PgRow, PgValueRef},
};

/// The most that one query may return, in bytes of values.
const RESULT_BYTES: u64 = 64 << 20;

/// Writes a literal that means this value whatever a session has been set to: nothing in it but letters, digits and a few
/// signs is written as it is. A parameter has the type that the statement wants of it, so text is a literal of no type.
pub(crate) fn write(value: &SqlValue, to: &mut String) {
    match value {
        SqlValue::Null => to.push_str("NULL"),
        SqlValue::Integer(n) => quote(n.to_string().as_bytes(), to),
        SqlValue::Real(x) if x.is_nan() => to.push_str("'NaN'"),
        SqlValue::Real(x) if x.is_infinite() => {
            to.push_str(if *x > 0.0 { "'Infinity'" } else { "'-Infinity'" });
        }
        // Whole ones as such: a column of whole numbers takes them as well.
        SqlValue::Real(x) if x.abs() < 1e15 => quote(x.to_string().as_bytes(), to),
        SqlValue::Real(x) => quote(format!("{x:e}").as_bytes(), to),
        SqlValue::Text(text) => quote(text.as_bytes(), to),
        SqlValue::Blob(bytes) => blob(bytes, to),
    }
}

fn quote(bytes: &[u8], to: &mut String) {
    const PLAIN: &[u8] = b" -+.,:_@/()[]{}\"=";
    to.push_str("E'");
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(byte) {
            to.push(char::from(*byte));
        } else {
            hex("\\x", *byte, to);
        }
    }
    to.push('\'');
}

/// Bytes are of their type, so that they do not become the text that stands for them.
fn blob(bytes: &[u8], to: &mut String) {
    to.push_str("E'\\\\x");
    for byte in bytes {
        hex("", *byte, to);
    }
    to.push_str("'::pg_catalog.bytea");
}

fn hex(before: &str, byte: u8, to: &mut String) {
    // Writing to a String does not fail.
    let _infallible = write!(to, "{before}{byte:02x}");
}

/// The rows of one result, as they come.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    columns: Option<Arc<[String]>>,
    found: Vec<SqlRow>,
    size: u64,
}

impl Rows {
    /// Takes a row that came as text. Too many bytes of them are refused.
    pub(crate) fn take(&mut self, row: &PgRow) -> Result<(), Error> {
        let columns = self.columns.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_owned()).collect());
        let mut values = Vec::with_capacity(columns.len());
        for column in 0..columns.len() {
            let value = row.try_get_raw(column).map_err(unreadable)?;
            values.push(read(&value, &mut self.size)?);
        }
        self.found.push(SqlRow::new(Arc::clone(columns), values));
        if self.size > RESULT_BYTES {
            return Err(Error::TooLarge { what: "the result of a query", size: self.size, limit: RESULT_BYTES });
        }
        Ok(())
    }

    pub(crate) fn into_rows(self) -> Vec<SqlRow> {
        self.found
    }
}

fn read(value: &PgValueRef<'_>, size: &mut u64) -> Result<SqlValue, Error> {
    use sqlx::ValueRef;
    *size += size_of::<SqlValue>() as u64;
    if value.is_null() {
        return Ok(SqlValue::Null);
    }
    let bytes = value.as_bytes().map_err(|error| unreadable(sqlx::Error::Decode(error)))?;
    *size += bytes.len() as u64;
    let text = String::from_utf8_lossy(bytes);
    let type_of = value.type_info();
    // Not the name but the number: an agent may call a type of its own as it likes.
    let number = type_of.oid().map_or(0, |oid| oid.0);
    Ok(from_text(number, &text).unwrap_or_else(|| SqlValue::Text(text.into_owned())))
}

/// By the number of the type: <https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_type.dat>.
fn from_text(type_number: u32, text: &str) -> Option<SqlValue> {
    const BOOL: u32 = 16;
    const BYTEA: u32 = 17;
    const INT8: u32 = 20;
    const INT2: u32 = 21;
    const INT4: u32 = 23;
    const OID: u32 = 26;
    const FLOAT4: u32 = 700;
    const FLOAT8: u32 = 701;
    const NUMERIC: u32 = 1700;
    match type_number {
        BOOL => Some(SqlValue::Integer((text == "t").into())),
        INT2 | INT4 | INT8 | OID => text.parse().ok().map(SqlValue::Integer),
        FLOAT4 | FLOAT8 => text.parse().ok().map(SqlValue::Real),
        // What sum() and avg() are of. Every digit has who writes ::text.
        NUMERIC => text.parse().map(SqlValue::Integer).or_else(|_| text.parse().map(SqlValue::Real)).ok(),
        BYTEA => bytes(text).map(SqlValue::Blob),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |sign: u8| char::from(sign).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn unreadable(error: sqlx::Error) -> Error {
    Error::Corrupt { what: "a row of an agent's table".into(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Into<SqlValue>) -> String {
        let mut to = String::new();
        write(&value.into(), &mut to);
        to
    }

    #[test]
    fn a_literal_holds_whatever_it_is_given() {
        assert_eq!(written(i64::MIN), "E'-9223372036854775808'");
        assert_eq!(written("'; DROP TABLE t; --\\"), r"E'\x27\x3b DROP TABLE t\x3b --\x5c'");
        assert_eq!(written("é"), r"E'\xc3\xa9'");
        assert_eq!(written(vec![0_u8, 255]), r"E'\\x00ff'::pg_catalog.bytea");
        assert_eq!(written(f64::NEG_INFINITY), "'-Infinity'");
        assert_eq!(written(2.0), "E'2'");
        assert_eq!(written(1e300), "E'1e300'");
        assert_eq!(written(None::<i64>), "NULL");
    }

    #[test]
    fn text_is_read_by_the_type_that_it_is_of() {
        assert_eq!(from_text(16, "t"), Some(1.into()));
        assert_eq!(from_text(1700, "42"), Some(42.into()));
        assert_eq!(from_text(1700, "2.50"), Some(2.5.into()));
        assert_eq!(from_text(17, "\\x00ff"), Some(vec![0_u8, 255].into()));
        assert_eq!(from_text(17, "\\x0"), None);
        assert_eq!(from_text(701, "-Infinity"), Some(f64::NEG_INFINITY.into()));
        assert_eq!(from_text(25, "42"), None);
    }
}
