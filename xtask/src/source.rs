//! The files of the repository, and Rust source as tokens: comments and strings are never taken for code.

use std::str::FromStr;

use anyhow::{Result, anyhow, ensure};
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

use crate::cargo;

/// One text file of the repository.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// One token with the line it begins on; `::` is one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The text files that git knows, and new ones that it does not ignore.
pub(crate) fn files() -> Result<Vec<File>> {
    let mut git = std::process::Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(cargo::root()).output()?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout)?;
    Ok(paths.split_terminator('\0').filter_map(read).collect())
}

/// `None` for what is not text, and for what was deleted and is still in git's index.
fn read(path: &str) -> Option<File> {
    let text = std::fs::read_to_string(cargo::root().join(path)).ok()?;
    Some(File { path: path.into(), text })
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The name of the crate in whose product build this file may be: `crates/NAME/src`, without its tests
    /// and without the conformance suite, which is a test that other crates can run.
    pub(crate) fn product_crate(&self) -> Option<&str> {
        let (name, inside) = self.path.strip_prefix("crates/")?.split_once('/')?;
        let inside = inside.strip_prefix("src/").filter(|_| self.is_rust())?;
        let is_test = inside.split('/').any(|part| matches!(part.trim_end_matches(".rs"), "tests" | "conformance"));
        (!is_test).then_some(name)
    }

    /// Every token of the file.
    pub(crate) fn tokens(&self) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        flatten(self.stream()?, Reach::Everything, &mut tokens);
        Ok(tokens)
    }

    /// The tokens outside items marked `#[cfg(test)]`.
    pub(crate) fn product_tokens(&self) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        flatten(self.stream()?, Reach::Product, &mut tokens);
        Ok(tokens)
    }

    fn stream(&self) -> Result<TokenStream> {
        TokenStream::from_str(&self.text).map_err(|error| anyhow!("{} is not Rust: {error}", self.path))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everything,
    Product,
}

fn flatten(stream: TokenStream, reach: Reach, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                trees.next();
                tokens.push(Token { text: "::".into(), line });
            }
            TokenTree::Punct(punct) if punct.as_char() == '#' && reach == Reach::Product => match trees.peek() {
                Some(TokenTree::Group(group)) if is_cfg_test(group) => skip_item(&mut trees),
                _ => tokens.push(Token { text: "#".into(), line }),
            },
            TokenTree::Group(group) => flatten_group(&group, reach, tokens),
            other => tokens.push(Token { text: other.to_string(), line }),
        }
    }
}

fn flatten_group(group: &Group, reach: Reach, tokens: &mut Vec<Token>) {
    let (open, close) = match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    };
    tokens.push(Token { text: open.into(), line: group.span_open().start().line });
    flatten(group.stream(), reach, tokens);
    tokens.push(Token { text: close.into(), line: group.span_close().start().line });
}

fn is_cfg_test(group: &Group) -> bool {
    let words: String = group.stream().to_string().split_whitespace().collect();
    group.delimiter() == Delimiter::Bracket && (words == "cfg(test)" || words.starts_with("cfg(all(test,"))
}

/// An item ends with its body or with a semicolon.
fn skip_item(trees: &mut impl Iterator<Item = TokenTree>) {
    for tree in trees {
        match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(punct) if punct.as_char() == ';' => return,
            _ => {}
        }
    }
}

/// The lines on which a path such as `tokio::spawn` is named, also as part of `tokio::{join, spawn}`.
pub(crate) fn mentions(tokens: &[Token], path: &str) -> Vec<usize> {
    let names: Vec<&str> = path.split("::").collect();
    let starts = (0..tokens.len()).filter(|&start| follows(&tokens[start..], &names));
    starts.map(|start| tokens[start].line).collect()
}

fn follows(tokens: &[Token], names: &[&str]) -> bool {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    match names {
        [] => true,
        [only] => is(0, only),
        [first, rest @ ..] if is(0, first) && is(1, "::") => {
            follows(&tokens[2..], rest) || (is(2, "{") && braces_hold(&tokens[2..], rest))
        }
        _ => false,
    }
}

/// Whether one of the names in `{a, b::c}` goes on with `names`.
fn braces_hold(tokens: &[Token], names: &[&str]) -> bool {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let opens_a_name = depth == 1 && matches!(tokens[at - 1].text.as_str(), "{" | ",");
        if opens_a_name && follows(&tokens[at..], names) {
            return true;
        }
        depth += i32::from(token.text == "{") - i32::from(token.text == "}");
        if depth == 0 {
            return false;
        }
    }
    false
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: [usize; 0] = [];

    fn lines(text: &str, path: &str) -> Vec<usize> {
        mentions(&file("a.rs", text).product_tokens().unwrap(), path)
    }

    #[test]
    fn finds_a_path_in_calls_and_imports() {
        assert_eq!(lines("fn a() {\n tokio::spawn(b());\n}", "tokio::spawn"), [2]);
        assert_eq!(lines("use tokio::{join, spawn};", "tokio::spawn"), [1]);
        assert_eq!(lines("use std::{fs, thread::{self, Builder}};", "thread::Builder"), [1]);
        assert_eq!(lines("use tokio::{task::{join, x}, other::spawn};", "tokio::spawn"), NOWHERE);
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        assert_eq!(lines("// tokio::spawn\n/// tokio::spawn\nfn a() { \"tokio::spawn\"; }", "tokio::spawn"), NOWHERE);
        let test = "#[cfg(test)]\n#[expect(dead_code)]\nmod tests { fn a() { tokio::spawn(b()) } }\n";
        assert_eq!(lines(&format!("{test}fn b() {{ tokio::spawn(c()) }}"), "tokio::spawn"), [4]);
    }

    #[test]
    fn knows_product_from_test() {
        assert_eq!(file("crates/insula-infra/src/memory/log.rs", "").product_crate(), Some("insula-infra"));
        for path in ["crates/a/src/tests.rs", "crates/a/src/x/tests/y.rs", "crates/a/src/conformance/log.rs"] {
            assert_eq!(file(path, "").product_crate(), None, "{path}");
        }
        assert_eq!(file("crates/a/tests/it/main.rs", "").product_crate(), None);
        assert_eq!(file("crates/a/src/schema.sql", "").product_crate(), None);
    }
}
