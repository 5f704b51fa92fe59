//! The description of the API for programs (OpenAPI 3.1). The one rule: what it describes exists, and what exists is in it.

use http::StatusCode;

use super::{
    answer::{self, Answer},
    call::Call,
};
use crate::http::problem::Problem;

/// The document.
pub const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn show(_: Call) -> Result<Answer, Problem> {
    Ok(answer::with_body(StatusCode::OK, "application/json", DOCUMENT.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value};

    use super::*;
    use crate::admin::{
        access::Needs,
        body::Taken,
        router::{ROUTES, Route},
    };

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, &Map<String, Value>)> {
        let paths = document["paths"].as_object().unwrap();
        let of = |(path, methods): (&String, &'_ Value)| -> Vec<_> {
            let methods = methods.as_object().unwrap().clone();
            methods.keys().map(|method| (method.to_uppercase(), path.clone())).collect()
        };
        let all = paths.iter().flat_map(of);
        all.map(|(method, path)| {
            let operation = paths[&path][method.to_lowercase()].as_object().unwrap();
            (method, path, operation)
        })
        .collect()
    }

    fn operation<'d>(document: &'d Value, route: &Route) -> &'d Value {
        &document["paths"][route.path][route.method.as_str().to_lowercase()]
    }

    #[test]
    fn every_route_stands_in_the_document_and_nothing_else_does() {
        let document = document();
        let described: BTreeSet<_> = operations(&document).into_iter().map(|(m, p, _)| (m, p)).collect();
        let served = ROUTES.iter().map(|route| (route.method.to_string(), route.path.to_owned()));
        assert_eq!(described, served.collect());
    }

    #[test]
    fn each_operation_names_its_permission_body_and_path_variables() {
        let document = document();
        for route in ROUTES {
            let operation = operation(&document, route);
            let says = operation["description"].as_str().unwrap_or_default();
            match route.needs {
                Needs::Permission(wanted) => {
                    assert!(says.ends_with(&format!("Asks for `{}`.", wanted.as_str())), "{}", route.path);
                }
                Needs::Control => {
                    assert!(says.ends_with("Through the control socket only."), "{}", route.path);
                }
                _ => assert_eq!(operation["security"], serde_json::json!([]), "{}", route.path),
            }
            let content = operation["requestBody"]["content"].as_object();
            let described = content.map(|content| content.keys().cloned().collect::<Vec<_>>());
            let taken = (route.body != Taken::Nothing).then(|| vec![route.body.types()[0].to_owned()]);
            assert_eq!(described, taken, "{}", route.path);
            let variables: BTreeSet<_> =
                route.path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            assert_eq!(variables, in_path.map(|p| p["name"].as_str().unwrap().to_owned()).collect());
        }
    }

    #[test]
    fn operations_have_names_of_their_own_and_answers_with_a_shape() {
        let document = document();
        let mut names = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert!(answer["description"].is_string(), "{path} {status}");
                let shaped = answer["content"]
                    .as_object()
                    .is_some_and(|content| content.values().all(|media| media["schema"].is_object()));
                assert!(shaped || status == "204", "{method} {path} {status}");
            }
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_every_schema_is_used() {
        fn references<'d>(value: &'d Value, out: &mut BTreeSet<&'d str>) {
            match value {
                Value::Object(members) => {
                    out.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|value| references(value, out));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, out)),
                _ => {}
            }
        }
        let document = document();
        let mut used = BTreeSet::new();
        references(&document, &mut used);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<_> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(used.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), there);
        for (name, schema) in schemas {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{name}: {required}");
            }
        }
    }
}
