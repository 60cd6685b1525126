//! What must not be shown: secrets by the name of their key, and paths of the machine by their looks.

use std::borrow::Cow;

use serde_json::Value;

const REDACTED: &str = "[redacted]";

/// Parts of key names that mark a secret. Compared without case and without `-` and `_`.
pub const SECRET_KEYS: &[&str] = &[
    "apikey",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "secret",
    "credential",
    "accesstoken",
    "refreshtoken",
    "privatekey",
    "cookie",
];

/// Key names that are a secret only as a whole: `tokens` or `token_count` are none.
pub const SECRET_WORDS: &[&str] = &["token", "auth", "bearer", "pin", "jwt"];

fn is_secret(key: &str) -> bool {
    let plain: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SECRET_WORDS.contains(&plain.as_str()) || SECRET_KEYS.iter().any(|secret| plain.contains(secret))
}

fn holds_secret(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| is_secret(key) || holds_secret(value)),
        Value::Array(items) => items.iter().any(holds_secret),
        _ => false,
    }
}

/// The value without secrets, at any depth. Borrowed when there are none.
pub(crate) fn secrets(value: &Value) -> Cow<'_, Value> {
    if !holds_secret(value) {
        return Cow::Borrowed(value);
    }
    let mut shown = value.clone();
    hide(&mut shown);
    Cow::Owned(shown)
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if is_secret(key) {
                    *value = Value::from(REDACTED);
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// A message that a user may see: the first line that says something, without absolute paths and without a backtrace.
pub(crate) fn message(text: &str) -> String {
    let before_trace = text.split("stack backtrace:").next().unwrap_or_default();
    let line = before_trace.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    line.split_inclusive(char::is_whitespace).map(without_path).collect()
}

/// A word in which whatever looks like a path of the machine is replaced; what is around it stays.
fn without_path(word: &str) -> Cow<'_, str> {
    let Some(start) = word.char_indices().map(|(at, _)| at).find(|at| is_path(&word[..*at], &word[*at..])) else {
        return Cow::Borrowed(word);
    };
    let path = token(&word[start..]).trim_end_matches(|c: char| !(c.is_alphanumeric() || "/\\".contains(c)));
    let rest = without_path(&word[start + path.len()..]);
    Cow::Owned(format!("{}[path]{rest}", &word[..start]))
}

/// What belongs together: up to a space, a quote, a bracket or a comma.
fn token(text: &str) -> &str {
    let end = text.find(|c: char| c.is_whitespace() || "\"'`()[]{}<>,;|".contains(c));
    &text[..end.unwrap_or(text.len())]
}

/// Whether a path begins here: an absolute one, or a relative one that ends with a file.
fn is_path(before: &str, here: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "/\\.~_-".contains(c);
    if before.chars().next_back().is_some_and(inside) {
        return false;
    }
    let token = token(here);
    let address = before.ends_with(':') && token.starts_with("//") && !before.ends_with("file:");
    let unix = token.starts_with('/') && token[1..].contains('/') && !address;
    let windows = token.as_bytes().get(1..3).is_some_and(|rest| rest == b":\\") || token.starts_with("\\\\");
    unix || windows || token.starts_with("~/") || is_relative(token)
}

fn is_relative(token: &str) -> bool {
    let Some((folder, file)) = token.rsplit_once('/') else { return false };
    let extension = file.split(':').next().and_then(|file| file.rsplit_once('.'));
    let named = extension.is_some_and(|(name, end)| {
        !name.is_empty() && (1..=4).contains(&end.len()) && end.chars().all(char::is_alphabetic)
    });
    named && !folder.contains(':')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth_and_nothing_else_is() {
        let value = json!({
            "query": "tokens", "max_tokens": 9,
            "headers": [{"Authorization": "Bearer x"}, {"X-API-Key": "y"}],
            "db": {"PASSWORD": "z", "clientSecret": {"a": 1}, "token": "t"},
        });
        let shown = secrets(&value).into_owned();
        assert_eq!(
            shown,
            json!({
                "query": "tokens", "max_tokens": 9,
                "headers": [{"Authorization": REDACTED}, {"X-API-Key": REDACTED}],
                "db": {"PASSWORD": REDACTED, "clientSecret": REDACTED, "token": REDACTED},
            })
        );
        assert!(matches!(secrets(&json!({"a": [1, {"b": "c"}]})), Cow::Borrowed(_)));
    }

    #[test]
    fn a_message_names_no_path_and_has_no_backtrace() {
        let cases = [
            ("cannot open '/srv/data/users/ada.db': denied", "cannot open '[path]': denied"),
            ("see C:\\temp\\x.log", "see [path]"),
            ("rate is 3/4 and/or https://example.org/a/b", "rate is 3/4 and/or https://example.org/a/b"),
            ("open(/srv/a/b.db), path=/srv/c/d: \"/e/f\"", "open([path]), path=[path]: \"[path]\""),
            ("at file:///srv/a and src/main.rs:7:9.", "at file:[path] and [path]."),
            ("text/html or 1.5/2.5 on 1/2/2026", "text/html or 1.5/2.5 on 1/2/2026"),
            ("failed\nstack backtrace:\n 0: main", "failed"),
            ("", "no message"),
        ];
        for (text, shown) in cases {
            assert_eq!(message(text), shown);
        }
    }
}
