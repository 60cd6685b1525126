//! JSON Schemas, compiled once when the registry is frozen.

use jsonschema::Validator;
use serde_json::Value;

/// At most this many violations are told at once.
const TOLD: usize = 10;

/// Compiles a schema. It must be self-contained: nothing is fetched.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|e| e.to_string())
}

/// What is wrong with a value, each violation with its place.
pub(crate) fn violations(validator: &Validator, value: &Value) -> Vec<String> {
    let describe = |error: jsonschema::ValidationError<'_>| match error.instance_path().as_str() {
        "" => error.to_string(),
        path => format!("{path}: {error}"),
    };
    validator.iter_errors(value).take(TOLD).map(describe).collect()
}

/// What is wrong with a value by a schema that is not compiled yet; nothing when it fits.
///
/// # Errors
/// In words, when the schema is none.
pub fn violations_of(schema: &Value, value: &Value) -> Result<Vec<String>, String> {
    Ok(violations(&compile(schema)?, value))
}
