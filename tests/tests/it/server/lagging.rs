//! A reader that stops reading is told that it has fallen behind, has everything in the end, and is nobody else's burden.

use insula_engine::Limits;
use serde_json::{Value, json};

use super::{
    house::House,
    socket::{Heard, Socket, event},
    told::Told,
};
use crate::{
    engine::stage::{Gate, class},
    support::{Island, on_every_backend},
};

/// More than any system keeps for a client that takes nothing.
const MANY: usize = 6_000;
const EACH: usize = 2_000;

/// Says that it is there, and, when the gate opens, very much.
fn loud(gate: &Gate) -> insula_registry::AgentClass {
    let gate = gate.clone();
    class("loud", move |session, _| {
        let gate = gate.clone();
        async move {
            session.think("ready");
            gate.passed().await;
            let words = "x".repeat(EACH);
            for n in 0..MANY {
                session.emit("much", json!({"n": n, "words": words}))?;
                tokio::task::yield_now().await;
            }
            Ok(Value::from(MANY))
        }
    })
}

/// Everything to the end of the run: events, and gaps in between.
async fn everything(socket: &mut Socket, run: &str, mut told: Vec<Told>) -> (Vec<Told>, Vec<Value>) {
    let mut gaps = Vec::new();
    while told.last().is_none_or(|last| !last.ends(run)) {
        let Heard::Text(text) = socket.hear().await else { panic!("closed after {} events", told.len()) };
        match event(&text) {
            Some(event) => told.push(event),
            None => {
                let gap: Value = serde_json::from_str(&text).unwrap();
                let last = told.last().map_or(0, |told| told.seq);
                assert_eq!((&gap["after"], &gap["next"]), (&json!(last), &json!(last + 1)), "{gap}");
                gaps.push(gap);
            }
        }
    }
    (told, gaps)
}

fn nothing_is_missing(told: &[Told]) {
    assert!(told.len() > MANY, "{}", told.len());
    assert!((1..).zip(told).all(|(seq, told)| told.seq == seq), "every event once, in order");
}

on_every_backend! {
    async fn a_reader_that_stalls_is_told_and_then_has_every_event(island: Island) {
        let gate = Gate::closed();
        // The stalled one gives no sign of life, and is not to be given up before the story is told.
        let patient = |limits: &mut Limits| limits.heartbeat = std::time::Duration::from_secs(600);
        let house = House::open(island.class(loud(&gate)).limits(patient)).await;
        let ada = house.user("ada").await;
        let (mut stalled, mut other) = (Socket::narrow(house.address, ada.bearer()).await, house.socket(&ada).await);
        let run = ada.submitted(json!({"agent": "loud", "thread_id": "talk"})).await;
        let (mut had, mut others) = (Vec::new(), Vec::new());
        for (socket, told) in [(&mut stalled, &mut had), (&mut other, &mut others)] {
            socket.subscribe("talk", 0).await;
            while told.last().is_none_or(|last: &Told| last.kind != "agent_thinking") {
                told.push(socket.told().await);
            }
        }
        gate.open();
        // Nobody reads from the stalled one meanwhile; the other one and the run do not wait for it.
        let (others, _) = everything(&mut other, &run, others).await;
        nothing_is_missing(&others);
        assert_eq!(ada.get(&format!("/v1/runs/{run}")).await.is(200)["status"], "completed");
        let (had, gaps) = everything(&mut stalled, &run, had).await;
        nothing_is_missing(&had);
        assert_eq!(had, others, "to the byte");
        assert!(!gaps.is_empty(), "it was told");
        for gap in gaps {
            assert_eq!((&gap["type"], &gap["reason"], &gap["thread_id"]), (&json!("gap"), &json!("behind"), &json!("talk")));
            assert!(gap["head"].as_u64() > gap["next"].as_u64(), "{gap}");
        }
    }
}
