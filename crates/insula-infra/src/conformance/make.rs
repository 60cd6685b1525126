//! What is made of the list of rules: one test or one entry per rule.

/// One test per rule.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($group:ident [$subject:ident] isolation { $($isolation:ident)* } others { $($other:ident)* }) => {
        mod $group {
            use super::*;
            $($crate::conformance_tests! { @test $group $subject $isolation })*
            $($crate::conformance_tests! { @test $group $subject $other })*
        }
    };
    (@test $group:ident $subject:ident $rule:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            $crate::conformance::$group::$rule($subject().await).await;
        }
    };
}

/// One entry of the list per rule.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_entries {
    ($group:ident [$rules:ident] isolation { $($isolation:ident)* } others { $($other:ident)* }) => {
        $rules.extend([
            $($crate::conformance_entries! { @entry $group $isolation true },)*
            $($crate::conformance_entries! { @entry $group $other false },)*
        ]);
    };
    (@entry $group:ident $rule:ident $isolation:literal) => {
        Rule {
            group: stringify!($group),
            name: stringify!($rule),
            isolation: $isolation,
            check: |subject| Box::pin($group::$rule(subject)),
        }
    };
}

/// Makes a module with one `#[tokio::test]` per rule that a backend must keep.
///
/// It is given the module's name and the name of an `async fn() -> Subject` that makes a fresh backend for every rule.
/// A backend that has a database says so, and one that serves only some of the ports names the groups of rules that it
/// keeps; nothing is left out at run time.
///
/// ```
/// # #[cfg(test)] mod tests {
/// use std::sync::Arc;
/// use insula_infra::{MemoryBackend, conformance::{ManualClock, Subject}};
///
/// async fn subject() -> Subject {
///     let clock = Arc::new(ManualClock::new());
///     Subject::new(MemoryBackend::with(clock.clone()).into_backend(), clock)
/// }
///
/// insula_infra::conformance!(memory, subject);
/// # insula_infra::conformance!(signals_and_cache, subject, [signals, cache]);
/// # }
/// ```
///
/// With a database: `conformance!(sqlite, subject, with database)`. Of some ports only:
/// `conformance!(redis, subject, [signals, cache])`.
#[macro_export]
macro_rules! conformance {
    ($module:ident, $subject:ident) => {
        $crate::conformance!(
            $module,
            $subject,
            [
                append, queue, threads, fairness, waiting, inbox, stopping, runs, history, log, state, schedules,
                budgets, cache, signals, quota, keys, audit, webhooks, usage, census, health
            ]
        );
    };
    ($module:ident, $subject:ident, with database) => {
        $crate::conformance!(
            $module,
            $subject,
            [
                append, queue, threads, fairness, waiting, inbox, stopping, runs, history, log, state, schedules,
                budgets, cache, signals, quota, keys, audit, webhooks, usage, census, health, database
            ]
        );
    };
    ($module:ident, $subject:ident, [$($group:ident),+ $(,)?]) => {
        mod $module {
            use super::*;
            $($crate::conformance_rules!($group, conformance_tests $subject);)+
        }
    };
}
