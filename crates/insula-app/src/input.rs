//! What an agent is given: from an argument, a file or standard input.

use std::io::Read;

use serde_json::Value;

use crate::exit::Stop;

/// Reads the input. No argument is `null`.
///
/// # Errors
/// When a file or standard input cannot be read or is not text.
pub(crate) fn read(argument: Option<&str>) -> Result<Value, Stop> {
    match argument {
        None => Ok(Value::Null),
        Some("-") => Ok(value(&text("standard input", all_of_stdin())?)),
        Some(argument) => match argument.strip_prefix('@') {
            Some(path) => Ok(value(&text(path, std::fs::read(path))?)),
            None => Ok(value(argument)),
        },
    }
}

fn all_of_stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
}

fn text(name: &str, bytes: std::io::Result<Vec<u8>>) -> Result<String, Stop> {
    let bytes = bytes.map_err(|error| {
        Stop::usage(format!("the input {name} cannot be read"))
            .because(error)
            .advise("`@FILE` names a file from the working directory on; `-` reads standard input")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Stop::usage(format!("the input {name} is not UTF-8 text: byte {at} belongs to no character"))
            .advise("convert it first, with iconv for example")
    })
}

/// JSON if it reads as JSON, otherwise the text itself.
fn value(text: &str) -> Value {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_json_and_everything_else_as_text() {
        let read = |argument| read(Some(argument)).expect("an input");
        assert_eq!(read("{\"a\": [1]}"), json!({"a": [1]}));
        assert_eq!((read("2000"), read("salve"), read("{oops")), (json!(2000), json!("salve"), json!("{oops")));
        assert_eq!(super::read(None).expect("an input"), Value::Null);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("latin1.csv");
        std::fs::write(&path, b"caf\xe9").expect("written");
        let refused =
            |path: &std::path::Path| read(Some(&format!("@{}", path.display()))).expect_err("refused").message;
        assert!(refused(&path).ends_with("is not UTF-8 text: byte 3 belongs to no character"));
        assert!(refused(&folder.path().join("missing")).ends_with("cannot be read"));
    }
}
