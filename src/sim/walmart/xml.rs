//! JSON answers as XML, for clients that ask for it: one element for each member, repeated for lists.

use serde_json::Value;

use crate::sim::answer::Answer;
use crate::sim::body::Source;

pub(super) fn rewritten(mut answer: Answer) -> Answer {
    let value = answer.whole().filter(|_| answer.is_json());
    let Some(value) = value.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()) else {
        return answer;
    };
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>".to_owned();
    let root = if value.get("errors").or(value.get("error")).is_some() { "errors" } else { "response" };
    element(&mut xml, root, &value);
    answer.headers.retain(|(name, _)| name != "content-type");
    answer.source = Source::Whole(xml.into());
    answer.header("content-type", "application/xml")
}

fn element(xml: &mut String, name: &str, value: &Value) {
    if let Value::Array(items) = value {
        items.iter().for_each(|item| element(xml, name, item));
        return;
    }
    xml.push_str(&format!("<{name}>"));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| element(xml, name, value)),
        Value::String(text) => xml.push_str(&escaped(text)),
        Value::Null | Value::Array(_) => {}
        Value::Bool(_) | Value::Number(_) => xml.push_str(&value.to_string()),
    }
    xml.push_str(&format!("</{name}>"));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::element;
    use serde_json::json;

    #[test]
    fn members_become_elements_and_lists_repeat_them() {
        let mut xml = String::new();
        element(&mut xml, "r", &json!({ "a": ["<", 2], "b": { "c": null } }));
        assert_eq!(xml, "<r><a>&lt;</a><a>2</a><b><c></c></b></r>");
    }
}
