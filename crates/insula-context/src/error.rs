//! What can be wrong with an identity or a context, said so that the caller can mend it.

use crate::MAX_DEPTH;

/// A context, scope or id was refused. Nothing has been registered, counted or emitted when this is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The field is empty or consists of white space.
    #[error("{field} is blank: give a value of 1 to {max} bytes", max = crate::id::MAX_BYTES)]
    Blank {
        /// The name of the field, `user_id` for example.
        field: &'static str,
    },
    /// The field is longer than [`crate::id::MAX_BYTES`].
    #[error("{field} has {bytes} bytes: at most {max} are accepted", max = crate::id::MAX_BYTES)]
    TooLong {
        /// The name of the field.
        field: &'static str,
        /// How long the refused value is.
        bytes: usize,
    },
    /// The field contains a control character.
    #[error("{field} contains a control character at byte {at}: remove it")]
    ControlCharacter {
        /// The name of the field.
        field: &'static str,
        /// The byte offset of the first control character.
        at: usize,
    },
    /// The field holds a value that stands for "nobody", such as `null`; see [`crate::id::PLACEHOLDERS`].
    #[error("{field} is the placeholder \"{value}\": give a real one")]
    Placeholder {
        /// The name of the field.
        field: &'static str,
        /// The refused value, in lower case.
        value: &'static str,
    },
    /// A data or audit map was given a key that the context itself answers for; see [`crate::context::RESERVED_KEYS`].
    #[error("\"{key}\" is a reserved key: the context carries it already, choose another name")]
    ReservedKey {
        /// The refused key.
        key: String,
    },
    /// A child was asked for below the deepest permitted level.
    #[error("a child at depth {depth} was refused: the limit is {MAX_DEPTH} levels below the first context")]
    TooDeep {
        /// The depth that the child would have had.
        depth: u8,
    },
}
