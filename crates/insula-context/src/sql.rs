//! Values that travel between an agent's code and its own database.
//!
//! They live here because both sides speak of them and neither may know the other.

use std::sync::Arc;

use serde_json::Value;

/// One value of a statement or a row.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// No value.
    Null,
    /// A whole number; booleans are 0 and 1.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl SqlValue {
    /// As JSON: bytes become an array of numbers, a number that is not finite becomes null.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(n) => Value::from(*n),
            Self::Real(x) => Value::from(*x),
            Self::Text(text) => Value::from(text.as_str()),
            Self::Blob(bytes) => Value::from(bytes.as_slice()),
        }
    }
}

macro_rules! into_sql_value {
    ($($from:ty => |$value:ident| $to:expr;)*) => {
        $(impl From<$from> for SqlValue {
            fn from($value: $from) -> Self {
                $to
            }
        })*
    };
}

into_sql_value! {
    i64 => |n| Self::Integer(n);
    i32 => |n| Self::Integer(n.into());
    u32 => |n| Self::Integer(n.into());
    bool => |yes| Self::Integer(yes.into());
    f64 => |x| Self::Real(x);
    &str => |text| Self::Text(text.to_owned());
    String => |text| Self::Text(text);
    Vec<u8> => |bytes| Self::Blob(bytes);
}

impl<T: Into<Self>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of a result. Columns are shared by all rows of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlRow {
    columns: Arc<[String]>,
    values: Vec<SqlValue>,
}

impl SqlRow {
    /// A row of `values` under `columns`, in the same order.
    pub fn new(columns: Arc<[String]>, values: Vec<SqlValue>) -> Self {
        Self { columns, values }
    }

    /// The value in the named column.
    pub fn value(&self, column: &str) -> Option<&SqlValue> {
        self.values.get(self.columns.iter().position(|c| c == column)?)
    }

    /// A whole number; `None` when the column is absent, null or of another type.
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.value(column)? {
            SqlValue::Integer(n) => Some(*n),
            _ => None,
        }
    }

    /// A number; whole ones are widened. `None` when the column is absent, null or of another type.
    pub fn real(&self, column: &str) -> Option<f64> {
        match self.value(column)? {
            SqlValue::Real(x) => Some(*x),
            #[expect(clippy::cast_precision_loss, reason = "the caller asked for a floating point number")]
            SqlValue::Integer(n) => Some(*n as f64),
            _ => None,
        }
    }

    /// Text; `None` when the column is absent, null or of another type.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.value(column)? {
            SqlValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The row as a JSON object.
    pub fn to_json(&self) -> Value {
        self.columns.iter().cloned().zip(self.values.iter().map(SqlValue::to_json)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_answers_by_column_and_type() {
        let columns = Arc::from(["n".to_owned(), "x".to_owned(), "t".to_owned()]);
        let row = SqlRow::new(columns, vec![1.into(), 0.5.into(), "é".into()]);
        assert_eq!(
            (row.integer("n"), row.real("n"), row.real("x"), row.text("t")),
            (Some(1), Some(1.0), Some(0.5), Some("é"))
        );
        assert_eq!((row.integer("t"), row.text("absent")), (None, None));
        assert_eq!(row.to_json(), serde_json::json!({"n": 1, "x": 0.5, "t": "é"}));
    }
}
