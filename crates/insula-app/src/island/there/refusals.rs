//! What a server refuses, in the words and codes of the command line.

use insula_client::{Error, Json, Problem, Tls};
use insula_context::RunId;
use insula_infra::ThreadPolicy;
use serde_json::json;

use super::Wish;
use crate::exit::{Kind, Stop, root};

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if let Error::Problem(problem) = error {
            return refused(*problem);
        }
        let (kind, advice) = match &error {
            Error::Address { .. } => (Kind::Configuration, "`insula config` shows where the address came from"),
            Error::InTheClear { .. } => (
                Kind::Configuration,
                "give the server's https address; without one, a tunnel (ssh -L) makes it a port of this machine",
            ),
            Error::Key => (Kind::Configuration, "`insula config` shows where the key came from"),
            Error::Id { .. } => (Kind::Usage, "choose another id"),
            Error::Unreachable { .. } if error.tls() == Some(Tls::Protocol) => {
                (Kind::Storage, "what answers there speaks no TLS, or another: is it a port for http?")
            }
            Error::Unreachable { .. } if error.tls() == Some(Tls::Certificate) => (
                Kind::Storage,
                "the certificate has to be of an authority that this machine trusts, and for this name; \
                 SSL_CERT_FILE names a file with others",
            ),
            Error::Unreachable { .. } | Error::Silent { .. } => {
                (Kind::Storage, "`insula doctor` looks at the server in detail")
            }
            Error::Strange { .. } | Error::Unreadable(_) => {
                (Kind::Storage, "ask whether this is the address of an Insula server, of about this version")
            }
            _ => (Kind::Failed, "ask for less at once"),
        };
        Self { cause: root(&error), ..Self::new(kind, error.to_string()).advise(advice) }
    }
}

/// A refusal in the server's words.
fn refused(problem: Problem) -> Stop {
    let advice = match (problem.name(), problem.retry_after) {
        ("unauthenticated", _) => "`insula config` shows where it came from; it may have expired or been revoked",
        ("forbidden", _) => "use a key that may: `insula token create` makes one, with --role for operators and admins",
        ("internal", _) => "the server's log says more",
        (_, Some(_)) => "come back later",
        _ => "",
    };
    let mut message = match problem.name() {
        // The server tells how to send one.
        "unauthenticated" => "the server does not accept the key".to_owned(),
        _ => problem.to_string(),
    };
    // The server may have worked them into its words already.
    let missing = problem.violations.iter().filter(|violation| !problem.detail.contains(violation.as_str()));
    let violations: Vec<&str> = missing.map(String::as_str).collect();
    if !violations.is_empty() {
        message = format!("{message}: {}", violations.join("; "));
    }
    let stop = Stop::new(kind(problem.name()), message);
    let stop = if advice.is_empty() { stop } else { stop.advise(advice) };
    match (problem.name(), &problem.request_id, problem.retry_after) {
        ("internal", Some(id), _) => stop.because(format!("request {id}")),
        (_, _, Some(after)) => stop.because(format!("not before {} seconds have passed", after.as_secs())),
        _ => stop,
    }
}

fn kind(problem: &str) -> Kind {
    match problem {
        "unauthenticated" | "forbidden" => Kind::NotAllowed,
        "not-found" => Kind::NotFound,
        "invalid-request" | "invalid-input" | "too-large" | "uri-too-long" | "unsupported-media-type" => Kind::Usage,
        "internal" | "unavailable" | "shutting-down" | "request-timeout" => Kind::Storage,
        _ => Kind::Failed,
    }
}

fn is(error: &Error, name: &str) -> bool {
    error.problem().is_some_and(|problem| problem.name() == name)
}

/// What is there.
pub(super) fn absent<T>(answer: Result<T, Error>) -> Result<Option<T>, Stop> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if is(&error, "not-found") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`absent`], where a conflict is with what was asked for: an id that is taken, a conversation that others begin with.
pub(super) fn not_as_asked<T>(answer: Result<T, Error>) -> Result<Option<T>, Stop> {
    match answer {
        Err(error) if is(&error, "conflict") => Err(Stop { kind: Kind::Usage, ..error.into() }),
        answer => absent(answer),
    }
}

/// A refused schedule, with what to do.
pub(super) fn for_schedule(error: Error) -> Stop {
    let (unknown, unfit) = (is(&error, "not-found"), is(&error, "invalid-input"));
    match Stop::from(error) {
        stop if unknown => stop.advise("`insula agents` says what each of them does"),
        stop if unfit => stop.advise("`insula schedule add --help` has examples"),
        stop => stop,
    }
}

/// A refused submission, with what to do about its agent.
pub(super) fn for_agent(error: Error, wish: &Wish) -> Stop {
    let (unknown, unfit, conflict) = (is(&error, "not-found"), is(&error, "invalid-input"), is(&error, "conflict"));
    let stop = Stop::from(error);
    match wish.policy {
        _ if unknown => stop.advise("`insula agents` says what each of them does"),
        _ if unfit => stop.advise(format!("`insula agents {}` shows what it wants", wish.agent)),
        ThreadPolicy::Reject => stop,
        // Only the id can be in the way then.
        _ if conflict => Stop { kind: Kind::Usage, ..stop },
        _ => stop,
    }
}

/// An answer that came too late is an outcome.
pub(super) fn answered_before(answer: Result<Json, Error>, run: &RunId) -> Result<Option<Json>, Stop> {
    match answer {
        Err(error) if is(&error, "conflict") => Ok(Some(Json::of(&json!({"run_id": run, "answer": "answered"}))?)),
        Err(error) if is(&error, "invalid-input") => Err(Stop::from(error).advise(crate::exit::STILL_OPEN)),
        answer => absent(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, detail: &str) -> Error {
        let kind = format!("urn:insula:problem:{name}");
        Error::Problem(Box::new(Problem { kind, detail: detail.to_owned(), ..Problem::default() }))
    }

    #[test]
    fn every_problem_has_the_code_of_what_it_is() {
        use insula_server::problem;
        let code = |kind: problem::Kind| Stop::from(problem(kind.name(), "no")).kind;
        for kind in problem::Kind::ALL {
            let expected = match kind.status().as_u16() {
                401 | 403 => Kind::NotAllowed,
                404 => Kind::NotFound,
                400 | 413..=415 | 422 => Kind::Usage,
                408 | 500.. => Kind::Storage,
                _ => Kind::Failed,
            };
            assert_eq!(code(kind), expected, "{}", kind.name());
        }
        assert_eq!(Stop::from(problem("made-up-later", "no")).kind, Kind::Failed);
    }

    #[test]
    fn a_violation_is_said_once() {
        let violations = vec!["it is \"soon\"".to_owned(), "it is short".to_owned()];
        let detail = "the input is refused: it is short".to_owned();
        let stop = refused(Problem { detail, violations, ..Problem::default() });
        assert_eq!(stop.message, "the input is refused: it is short: it is \"soon\"");
    }

    #[test]
    fn a_conflict_is_what_was_asked_for_unless_it_was_to_be_refused_then() {
        let wish = |policy| Wish { policy, ..Wish::default() };
        let kind = |policy| for_agent(problem("conflict", "no"), &wish(policy)).kind;
        assert_eq!((kind(ThreadPolicy::Reject), kind(ThreadPolicy::Enqueue)), (Kind::Failed, Kind::Usage));
    }
}
