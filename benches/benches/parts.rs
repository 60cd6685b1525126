//! The parts that every run pays for, one by one.
#![expect(clippy::disallowed_methods, reason = "a benchmark plays the authenticator")]

use std::sync::Arc;

use insula_agent::kit;
use insula_context::{RandomIds, RunId, ScopeIssuer, ThreadId, UserExecutionContext, UserScope};
use insula_engine::ExecutionEngineFactory;
use insula_factory::{AgentInstanceFactory, Everything};
use insula_infra::MemoryBackend;
use insula_registry::{AgentClass, AgentClassRegistry};

fn main() {
    divan::main();
}

fn user() -> UserScope {
    ScopeIssuer::new().issue("bench", "ada").expect("a valid name")
}

fn registry() -> AgentClassRegistry {
    AgentClassRegistry::builder().register(AgentClass::new("noop", "1", kit::noop)).freeze().expect("fits together")
}

fn context(user: &UserScope) -> UserExecutionContext {
    let thread = ThreadId::new("thread-1").expect("a valid id");
    UserExecutionContext::builder(user.clone(), thread, RunId::generate(&RandomIds)).build().expect("no reserved keys")
}

#[divan::bench]
fn make_a_context(bencher: divan::Bencher<'_, '_>) {
    let user = user();
    bencher.bench(|| context(&user));
}

#[divan::bench]
fn make_a_child_context(bencher: divan::Bencher<'_, '_>) {
    let parent = context(&user());
    bencher.bench(|| parent.child("step").expect("not too deep"));
}

#[divan::bench]
fn make_an_instance(bencher: divan::Bencher<'_, '_>) {
    let factory = AgentInstanceFactory::new(registry(), Arc::new(RandomIds), Arc::new(Everything));
    let context = context(&user());
    bencher.bench(|| factory.create("noop", &context).expect("the class exists"));
}

#[divan::bench]
fn make_an_engine(bencher: divan::Bencher<'_, '_>) {
    let factory = ExecutionEngineFactory::builder(registry(), MemoryBackend::new().into_backend()).build();
    let context = context(&user());
    bencher.bench(|| factory.create_for_user(&context).expect("there is room"));
}
