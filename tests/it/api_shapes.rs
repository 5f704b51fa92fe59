//! Holds what the accounts API answers against its own description. The rule: a member that is not described is as wrong as
//! one that is missing.

use marketgate::admin::openapi::DOCUMENT;
use serde_json::Value;

/// Panics unless `document` is what the schema of that name says.
pub(crate) fn assert_is(name: &str, document: &Value) {
    let description: Value = serde_json::from_str(DOCUMENT).unwrap();
    let schemas = &description["components"]["schemas"];
    assert!(schemas[name].is_object(), "no schema {name}");
    if let Err(wrong) = check(schemas, &schemas[name], document) {
        panic!("no {name}: {wrong} in {document:#}");
    }
}

fn check(schemas: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return check(schemas, &schemas[name], value).map_err(|wrong| format!("{name}: {wrong}"));
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| check(schemas, choice, value).is_ok());
        return fits.then_some(()).ok_or_else(|| format!("{value} is none of {choices:?}"));
    }
    if !has_type(&schema["type"], value) {
        return Err(format!("{value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    if let Some(values) = value.as_array() {
        return values.iter().try_for_each(|value| check(schemas, &schema["items"], value));
    }
    value.as_object().map_or(Ok(()), |members| {
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return Err(format!("`{name}` is missing"));
            }
        }
        members.iter().try_for_each(|(name, value)| {
            let others = &schema["additionalProperties"];
            let member = schema["properties"].get(name).or_else(|| others.is_object().then_some(others));
            let member = member.ok_or_else(|| format!("`{name}` is not described"))?;
            check(schemas, member, value).map_err(|wrong| format!("`{name}`: {wrong}"))
        })
    })
}

fn has_type(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("a type {other} is not known here"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}
