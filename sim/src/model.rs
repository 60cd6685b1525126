//! What may come out of a plan, whatever happened on the way. Pure.

use serde_json::{Value, json};

use crate::plan::{Asked, Op, Plan};

/// How a plan ends if nobody stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// With a result.
    Completed,
    /// With the error that it was to end with.
    Failed,
    /// With the panic that it was to end with.
    Panicked,
}

/// How this plan ends.
pub fn ends(plan: &Plan) -> Ends {
    let end = plan.ops.iter().find_map(|op| match op {
        Op::Fail => Some(Ends::Failed),
        Op::Panic => Some(Ends::Panicked),
        _ => None,
    });
    end.unwrap_or(Ends::Completed)
}

/// What is wrong with the result of a completed run, if anything.
pub fn refuses(plan: &Plan, result: &Value) -> Option<String> {
    let Some(given) = result.as_array().filter(|given| given.len() == plan.ops.len()) else {
        return Some(format!("{result} is no result of {} things", plan.ops.len()));
    };
    plan.ops
        .iter()
        .zip(given)
        .find_map(|(op, given)| (!allows(op, given)).then(|| format!("{given} is no result of {op:?}")))
}

fn allows(op: &Op, given: &Value) -> bool {
    match op {
        Op::Step(_) => given == "step",
        Op::Tool { fails, .. } => given == if *fails { "failed" } else { "done" },
        Op::Child(plan) => match ends(plan) {
            Ends::Completed => refuses(plan, &given["child"]).is_none(),
            Ends::Failed => *given == json!({"child": "error"}),
            Ends::Panicked => *given == json!({"child": "panic"}),
        },
        Op::Ask(asked) => answers(*asked).iter().any(|answer| given == answer),
        Op::Pair(one, two) => {
            given.as_array().is_some_and(|both| both.len() == 2 && allows(one, &both[0]) && allows(two, &both[1]))
        }
        Op::Sleep(_) => given == "slept",
        Op::Random | Op::Now => given["told"].is_number(),
        Op::Count => given == "counted",
        Op::Fail | Op::Panic => false,
    }
}

/// An answer races with the time.
fn answers(asked: Asked) -> Vec<&'static str> {
    let late = asked.expires.map(|_| if asked.default { "no" } else { "expired" });
    late.into_iter().chain(asked.answered.then_some("yes")).collect()
}

#[cfg(test)]
mod tests {
    use insula_agent::Effect;

    use super::*;

    fn plan(ops: Vec<Op>) -> Plan {
        Plan { ops }
    }

    #[test]
    fn a_plan_ends_with_the_first_thing_that_ends_it() {
        assert_eq!(ends(&plan(vec![Op::Now, Op::Sleep(1)])), Ends::Completed);
        assert_eq!(ends(&plan(vec![Op::Now, Op::Panic, Op::Fail])), Ends::Panicked);
        assert_eq!(ends(&plan(vec![Op::Fail, Op::Panic])), Ends::Failed);
    }

    #[test]
    fn a_tool_gives_what_it_was_to_give() {
        let tool = |fails| plan(vec![Op::Tool { effect: Effect::Once, fails, millis: 0 }]);
        assert_eq!(refuses(&tool(false), &json!(["done"])), None);
        assert_eq!(refuses(&tool(true), &json!(["failed"])), None);
        assert!(refuses(&tool(true), &json!(["done"])).is_some());
        assert!(refuses(&tool(false), &json!([])).is_some());
    }

    #[test]
    fn a_child_gives_what_its_own_plan_allows() {
        let mother = |ops| plan(vec![Op::Child(plan(ops))]);
        assert_eq!(refuses(&mother(vec![Op::Count]), &json!([{"child": ["counted"]}])), None);
        assert!(refuses(&mother(vec![Op::Count]), &json!([{"child": []}])).is_some());
        assert_eq!(refuses(&mother(vec![Op::Panic]), &json!([{"child": "panic"}])), None);
        assert!(refuses(&mother(vec![Op::Fail]), &json!([{"child": "panic"}])).is_some());
    }

    #[test]
    fn an_answer_that_may_come_late_may_be_the_default() {
        let asks = |expires, default| plan(vec![Op::Ask(Asked { answered: true, expires, default })]);
        assert_eq!(refuses(&asks(Some(5), true), &json!(["no"])), None);
        assert!(refuses(&asks(None, true), &json!(["no"])).is_some());
        assert!(refuses(&asks(Some(5), false), &json!(["no"])).is_some());
    }
}
