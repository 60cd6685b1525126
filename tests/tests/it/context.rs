//! Who is asking: contexts, their children and their refusals.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures::future::join_all;
use insula_agent::agent_fn;
use insula_context::{
    Cleanup, ConnectionId, Error, MAX_DEPTH, RequestId, RunId, ScopeIssuer, SessionId, TenantId, ThreadId,
    TraceContext, UserExecutionContext, UserId, UserScope,
    context::RESERVED_KEYS,
    id::{MAX_BYTES, PLACEHOLDERS},
};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use crate::support::{Island, log::runs_of, on_every_backend, user, users};

fn named(user: &str, thread: &str, run: &str) -> Result<UserExecutionContext, Error> {
    let scope = ScopeIssuer::new().issue("acme", user)?;
    UserExecutionContext::builder(scope, ThreadId::new(thread)?, RunId::new(run)?).build()
}

#[test]
fn ctx_1_a_context_is_as_it_was_asked_for_and_each_is_a_request_of_its_own() {
    let (one, two) = (named("ada", "t-1", "r-1").unwrap(), named("ada", "t-1", "r-1").unwrap());
    for context in [&one, &two] {
        assert_eq!(context.scope().user().as_str(), "ada");
        assert_eq!((context.thread().as_str(), context.run().as_str()), ("t-1", "r-1"));
        assert_eq!((context.depth(), context.parent_request(), context.operation()), (0, None, None));
        assert!(context.data().is_empty() && context.audit().is_empty());
        assert!(context.created_at().to_string().ends_with('Z'), "{} is not UTC", context.created_at());
    }
    assert_ne!(one.request(), two.request());
}

/// What is wrong with an id, as a value and as the error for the field.
fn faulty(field: &'static str) -> Vec<(String, Error)> {
    vec![
        (String::new(), Error::Blank { field }),
        (" \t ".to_owned(), Error::Blank { field }),
        ("\u{2003}\u{a0}".to_owned(), Error::Blank { field }),
        ("x".repeat(MAX_BYTES + 1), Error::TooLong { field, bytes: MAX_BYTES + 1 }),
        ("é".repeat(MAX_BYTES / 2 + 1), Error::TooLong { field, bytes: MAX_BYTES + 2 }),
        ("ada\0".to_owned(), Error::ControlCharacter { field, at: 3 }),
        ("a\nda".to_owned(), Error::ControlCharacter { field, at: 1 }),
        ("ada\u{7f}".to_owned(), Error::ControlCharacter { field, at: 3 }),
    ]
}

on_every_backend! {
    async fn ctx_2_a_faulty_id_is_refused_by_name_and_leaves_nothing(island: Island) {
        let untouched = island.factory().metrics();
        for (value, expected) in faulty("user_id") {
            assert_eq!(named(&value, "t", "r").unwrap_err(), expected);
        }
        for (value, expected) in faulty("thread_id") {
            assert_eq!(named("ada", &value, "r").unwrap_err(), expected);
        }
        for (value, expected) in faulty("run_id") {
            assert_eq!(named("ada", "t", &value).unwrap_err(), expected);
            assert!(expected.to_string().starts_with("run_id"), "{expected}");
        }
        assert_eq!(island.factory().metrics(), untouched);
        assert!(runs_of(island.ports(), &island.user("ada")).await.is_empty());
        assert!(island.factory().isolation_report().live.is_empty());
    }

    async fn ctx_4_what_one_holder_changes_nobody_else_sees(island: Island) {
        let meddler = AgentClass::new("meddler", "1", || agent_fn(|session, input| async move {
            let mut mine: BTreeMap<String, Value> = session.context().data().clone();
            mine.insert("prefs".to_owned(), input);
            tokio::task::yield_now().await;
            Ok(json!(session.context().data()))
        }));
        let island = island.class(meddler);
        let mut prefs = json!({"tone": "dry", "tags": ["a"]});
        let ada = island.user("ada");
        let context = UserExecutionContext::builder(ada, ThreadId::new("t").unwrap(), RunId::new("r").unwrap())
            .data("prefs", prefs.clone())
            .build()
            .unwrap();
        prefs["tone"] = json!("loud");
        let engine = island.engine(&context);
        let holders: Vec<_> = (0..10).map(|_| context.next_run()).collect();
        let runs = holders.iter().enumerate().map(|(n, holder)| engine.execute_agent(holder, "meddler", json!(n)));
        for outcome in join_all(runs).await {
            let seen = outcome.unwrap();
            assert_eq!(seen.result().unwrap(), &json!({"prefs": {"tone": "dry", "tags": ["a"]}}));
        }
        assert_eq!(context.data()["prefs"], json!({"tone": "dry", "tags": ["a"]}));
    }

    async fn ctx_6_agents_call_each_other_ten_levels_deep_and_no_deeper(island: Island) {
        let descend = AgentClass::new("descend", "1", || agent_fn(|session, _| async move {
            let depth = session.context().depth();
            match session.call_agent("descend", Value::Bool(true)).await {
                Ok(deeper) => Ok(deeper),
                Err(refused) => Ok(json!({"depth": depth, "refused": refused.to_string()})),
            }
        }));
        let island = island.class(descend);
        let outcome = island.run(&island.user("ada"), "descend", Value::Bool(true)).await;
        let bottom = outcome.result().unwrap();
        assert_eq!(bottom["depth"], MAX_DEPTH);
        let refused = bottom["refused"].as_str().unwrap();
        assert!(refused.contains("depth 11") && refused.contains("10 levels"), "{refused}");
        assert_eq!(runs_of(island.ports(), &island.user("ada")).await.len(), usize::from(MAX_DEPTH) + 1);
    }
}

#[test]
fn ctx_3_placeholders_are_refused_in_any_case_and_nothing_else_by_its_looks() {
    for placeholder in PLACEHOLDERS {
        let mut title = placeholder.to_string();
        title[..1].make_ascii_uppercase();
        for value in [placeholder.to_string(), placeholder.to_uppercase(), title, format!(" {placeholder} ")] {
            let refused = |field| Error::Placeholder { field, value: placeholder };
            assert_eq!(named(&value, "t", "r").unwrap_err(), refused("user_id"));
            assert_eq!(named("ada", &value, "r").unwrap_err(), refused("thread_id"));
            assert_eq!(named("ada", "t", &value).unwrap_err(), refused("run_id"));
            assert_eq!(ScopeIssuer::new().issue(&value, "ada").unwrap_err(), refused("tenant_id"));
            assert_eq!(SessionId::new(&value).unwrap_err(), refused("session_id"));
        }
    }
    for listed in ["registry", "placeholder", "null", "undefined", "none"] {
        assert!(PLACEHOLDERS.contains(&listed), "{listed} is not on the list");
    }
    for fine in ["a", "0", "test", "nullable", "nonesuch", "registry-7", "dev", &"x".repeat(MAX_BYTES)] {
        assert!(named(fine, fine, fine).is_ok(), "{fine} was refused");
    }
}

#[tokio::test]
async fn ctx_5_children_have_the_same_owner_and_a_request_of_their_own() {
    let parent = UserExecutionContext::builder(user("ada"), ThreadId::new("t").unwrap(), RunId::new("r").unwrap())
        .connection(ConnectionId::new("c-1").unwrap())
        .data("k", 1)
        .build()
        .unwrap();
    let before = format!("{:?} {:?}", parent, parent.audit_view());
    let making = (0..10).map(|n| {
        let parent = parent.clone();
        tokio::spawn(async move { parent.child(&format!("step {n}")).unwrap() })
    });
    let children: Vec<_> = join_all(making).await.into_iter().map(Result::unwrap).collect();
    let requests: BTreeSet<&RequestId> = children.iter().map(UserExecutionContext::request).collect();
    assert_eq!(requests.len(), 10);
    assert!(!requests.contains(parent.request()));
    for (n, child) in children.iter().enumerate() {
        assert_eq!((child.scope(), child.thread(), child.run()), (parent.scope(), parent.thread(), parent.run()));
        assert_eq!((child.connection(), child.data()), (parent.connection(), parent.data()));
        assert_eq!((child.depth(), child.parent_request()), (1, Some(parent.request())));
        assert_eq!(child.operation(), Some(&*format!("step {n}")));
    }
    assert_eq!(format!("{:?} {:?}", parent, parent.audit_view()), before);
    for blank in ["", "  ", "\t"] {
        assert_eq!(parent.child(blank).unwrap_err(), Error::Blank { field: "operation" });
    }
}

#[test]
fn ctx_6_the_tenth_level_is_reached_and_the_eleventh_refused() {
    let mut deepest = named("ada", "t", "r").unwrap();
    for depth in 1..=10 {
        deepest = deepest.child("deeper").unwrap();
        assert_eq!(deepest.depth(), depth);
    }
    let refused = deepest.child("too deep").unwrap_err();
    assert_eq!(refused, Error::TooDeep { depth: 11 });
    let words = refused.to_string();
    assert!(words.contains("11") && words.contains("10"), "{words}");
}

#[test]
fn ctx_7_a_reserved_key_is_refused_by_name_in_either_map() {
    for key in ["user_id", "thread_id", "run_id", "request_id"] {
        assert!(RESERVED_KEYS.contains(&key), "{key} is not on the list");
    }
    for key in RESERVED_KEYS {
        let builder =
            || UserExecutionContext::builder(user("ada"), ThreadId::new("t").unwrap(), RunId::new("r").unwrap());
        for refused in [builder().data(*key, "x").build(), builder().audit(*key, "x").build()] {
            let refused = refused.unwrap_err();
            assert_eq!(refused, Error::ReservedKey { key: (*key).to_owned() });
            assert!(refused.to_string().contains(key), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctx_9_a_hundred_contexts_of_twenty_users_share_nothing() {
    let making = users(20).into_iter().flat_map(|owner| {
        (0..5).map(move |n| {
            let owner = owner.clone();
            tokio::spawn(async move {
                let thread = ThreadId::new(format!("t-{n}")).unwrap();
                let mine = format!("{owner} {n}");
                let builder =
                    UserExecutionContext::builder(owner.clone(), thread, RunId::new(format!("r-{n}")).unwrap());
                (owner, mine.clone(), builder.data("mine", mine).build().unwrap())
            })
        })
    });
    let made: Vec<(UserScope, String, UserExecutionContext)> =
        join_all(making.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
    let requests: BTreeSet<&RequestId> = made.iter().map(|(_, _, context)| context.request()).collect();
    assert_eq!((made.len(), requests.len()), (100, 100));
    for (owner, mine, context) in &made {
        assert_eq!((context.scope(), context.data().len()), (owner, 1));
        assert_eq!(&context.data()["mine"], mine);
    }
    let maps: BTreeSet<_> = made.iter().map(|(_, _, context)| std::ptr::from_ref(context.data())).collect();
    assert_eq!(maps.len(), 100, "two contexts share a map");
}

type Order = Arc<Mutex<Vec<&'static str>>>;

/// Three guards: the second returns an error, and the third, which runs first, panics.
fn guards(order: &Order) -> Cleanup {
    let mut cleanup = Cleanup::new();
    for name in ["first", "fails", "panics"] {
        let order = Arc::clone(order);
        cleanup.defer(name, move || {
            order.lock().unwrap().push(name);
            match name {
                "panics" => panic!("a guard panics"),
                "fails" => Err("a guard fails".to_owned()),
                _ => Ok(()),
            }
        });
    }
    cleanup
}

#[tokio::test]
async fn ctx_10_guards_run_once_in_reverse_however_a_scope_ends() {
    let end = |how: &'static str| async move {
        let order = Order::default();
        let guards = guards(&order);
        let scope = tokio::spawn(async move {
            let _guards = guards;
            match how {
                "return" => Ok(()),
                "error" => Err("an error"),
                "panic" => panic!("a scope panics"),
                _ => std::future::pending().await,
            }
        });
        if how == "cancellation" {
            tokio::task::yield_now().await;
            scope.abort();
        }
        let _ = scope.await;
        Arc::try_unwrap(order).unwrap().into_inner().unwrap()
    };
    for how in ["return", "error", "panic", "cancellation"] {
        assert_eq!(end(how).await, ["panics", "fails", "first"], "on {how}");
    }
}

#[test]
fn ctx_10_a_guard_that_fails_is_named_and_does_not_stop_the_rest() {
    let order = Order::default();
    let failures = guards(&order).run();
    assert_eq!(*order.lock().unwrap(), ["panics", "fails", "first"]);
    let said: Vec<(&str, &str)> = failures.iter().map(|failure| (failure.name, &*failure.message)).collect();
    assert_eq!(said, [("panics", "a guard panics"), ("fails", "a guard fails")]);
}

#[test]
fn ctx_13_the_audit_view_says_who_and_where_and_holds_no_content() {
    let trace = TraceContext {
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        span_id: "b7ad6b7169203331".into(),
        sampled: true,
    };
    let context = UserExecutionContext::builder(user("ada"), ThreadId::new("t").unwrap(), RunId::new("r").unwrap())
        .session(SessionId::new("login-7").unwrap())
        .request(RequestId::new("req-1").unwrap())
        .trace(trace)
        .audit("correlation_id", "corr-9")
        .audit("client_address", "192.0.2.7")
        .audit("method", "POST")
        .audit("path", "/v1/runs")
        .data("api_key", "canary-key")
        .build()
        .unwrap();
    let view = serde_json::to_value(context.child("summarise").unwrap().audit_view()).unwrap();
    for (key, value) in
        [("tenant_id", "acme"), ("user_id", "ada"), ("session_id", "login-7"), ("operation", "summarise")]
    {
        assert_eq!(view[key], value);
    }
    assert_eq!(view["parent_request_id"], "req-1");
    assert_eq!(view["trace"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    let audit =
        json!({"client_address": "192.0.2.7", "correlation_id": "corr-9", "method": "POST", "path": "/v1/runs"});
    assert_eq!(view["audit"], audit);
    assert!(!view.to_string().contains("canary"), "{view}");
    assert!(!format!("{context:?}").contains("canary"), "{context:?}");
}

/// No id is, becomes or passes for another, and none comes out of a request body.
#[test]
fn ctx_14_ids_cannot_stand_for_one_another() {
    use static_assertions::{assert_not_impl_any, assert_type_ne_all};

    assert_type_ne_all!(TenantId, UserId, SessionId, ThreadId, RunId, RequestId, ConnectionId);
    macro_rules! stands_for_itself_only {
        ($($id:ident is no $($other:ident)*;)*) => {$(
            $( assert_not_impl_any!($id: From<$other>, AsRef<$other>, PartialEq<$other>); )*
            // An id that passes for a text would be taken by the constructor of another one.
            assert_not_impl_any!($id: AsRef<str>, std::ops::Deref, Into<String>, From<String>, Default);
            assert_not_impl_any!($id: serde::de::DeserializeOwned, std::str::FromStr);
        )*};
    }
    stands_for_itself_only! {
        TenantId is no UserId SessionId ThreadId RunId RequestId ConnectionId;
        UserId is no TenantId SessionId ThreadId RunId RequestId ConnectionId;
        SessionId is no TenantId UserId ThreadId RunId RequestId ConnectionId;
        ThreadId is no TenantId UserId SessionId RunId RequestId ConnectionId;
        RunId is no TenantId UserId SessionId ThreadId RequestId ConnectionId;
        RequestId is no TenantId UserId SessionId ThreadId RunId ConnectionId;
        ConnectionId is no TenantId UserId SessionId ThreadId RunId RequestId;
    }
    assert_not_impl_any!(UserScope: serde::de::DeserializeOwned, Default, From<UserId>);
}
