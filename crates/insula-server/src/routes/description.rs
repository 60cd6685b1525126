//! What every operation of the description has in common and no attribute has to repeat: a name of its own, a word about each
//! answer, and the type of problems.

use utoipa::openapi::{OpenApi, PathItem, RefOr, Response, path::Operation};

/// Completes what the attributes of the routes say.
pub(super) fn complete(mut openapi: OpenApi) -> OpenApi {
    openapi.paths.paths.values_mut().flat_map(operations).for_each(complete_operation);
    openapi
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.delete].into_iter().flatten()
}

/// Programs that write clients name their functions after the operations, so that no two may be called the same.
fn complete_operation(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(name)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{name}"));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            complete_response(status, response);
        }
    }
}

fn complete_response(status: &str, response: &mut Response) {
    let is_problem = status == "default";
    if response.description.is_empty() {
        response.description = if is_problem { "why it was not done" } else { "what was asked for" }.to_owned();
    }
    if is_problem && let Some(body) = response.content.shift_remove("application/json") {
        response.content.insert("application/problem+json".to_owned(), body);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_operations_have_the_same_name() {
        let mut openapi = super::super::openapi();
        let names = openapi.paths.paths.values_mut().flat_map(operations).map(|it| it.operation_id.clone());
        let mut seen = BTreeSet::new();
        names.for_each(|name| assert!(seen.insert(name.clone()), "{name:?} is there twice"));
        assert!(seen.contains(&Some("runs_create".to_owned())), "{seen:?}");
    }

    #[test]
    fn every_answer_is_described_and_problems_have_their_type() {
        let openapi = serde_json::to_value(super::super::openapi()).expect("a description is JSON");
        for (path, operations) in openapi["paths"].as_object().expect("paths") {
            for operation in operations.as_object().expect("operations").values() {
                for (status, response) in operation["responses"].as_object().expect("responses") {
                    assert!(response["description"].is_string(), "{path} {status}");
                    let types = response["content"].as_object();
                    let is_problem = types.is_some_and(|types| types.contains_key("application/problem+json"));
                    assert_eq!(status == "default", is_problem, "{path} {status}");
                }
            }
        }
    }

    #[test]
    fn what_may_be_any_json_is_not_said_to_be_an_object() {
        let openapi = serde_json::to_value(super::super::openapi()).expect("a description is JSON");
        let schemas = &openapi["components"]["schemas"];
        for (schema, field) in [("NewRun", "input"), ("Run", "input"), ("Run", "result"), ("Answer", "answer")] {
            let described = &schemas[schema]["properties"][field];
            assert!(described.is_object() && described["type"].is_null(), "{schema}.{field}: {described}");
        }
    }
}
