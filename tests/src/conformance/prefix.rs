//! Moves a filter or sort one level down: what was asked of a document is asked of `asset_metadata`.

use serde_json::{Map, Value};

const PREFIX: &str = "asset_metadata";

/// The filter over `asset_metadata`.
#[must_use]
pub fn filter(filter: &Value) -> Value {
    let Some(members) = filter.as_object() else {
        return filter.clone();
    };
    members
        .iter()
        .map(|(key, value)| match key.as_str() {
            "$and" | "$or" | "$nor" => (key.clone(), branches(value)),
            "$expr" => (key.clone(), expression(value)),
            key if key.starts_with('$') => (key.to_owned(), value.clone()),
            path => (format!("{PREFIX}.{path}"), value.clone()),
        })
        .collect::<Map<_, _>>()
        .into()
}

fn branches(value: &Value) -> Value {
    value.as_array().map_or_else(|| value.clone(), |list| list.iter().map(filter).collect())
}

/// The sort over `asset_metadata`.
#[must_use]
pub fn sort(sort: &Value) -> Value {
    sort.as_object().map_or_else(
        || sort.clone(),
        |keys| {
            let moved = keys.iter().map(|(path, way)| (format!("{PREFIX}.{path}"), way.clone()));
            moved.collect::<Map<_, _>>().into()
        },
    )
}

fn expression(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(field_path(text)),
        Value::Array(list) => list.iter().map(expression).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match key.as_str() {
                "$literal" => (key.clone(), value.clone()),
                _ => (key.clone(), expression(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => value.clone(),
    }
}

fn field_path(text: &str) -> String {
    for whole in ["$$ROOT", "$$CURRENT"] {
        if let Some(rest) = text.strip_prefix(whole) {
            return format!("{whole}.{PREFIX}{rest}");
        }
    }
    match text.strip_prefix('$') {
        Some(path) if !path.is_empty() && !path.starts_with('$') => format!("${PREFIX}.{path}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_move_down_and_nothing_else_does() {
        let moved = filter(&json!({
            "a.b": {"$elemMatch": {"c": 1}},
            "$or": [{"d": "$e"}, {"$comment": "f"}],
            "$expr": {"$eq": ["$g.h", {"$literal": "$i"}, "$$ROOT.j", "$$this", "k"]},
        }));
        let expected = json!({
            "asset_metadata.a.b": {"$elemMatch": {"c": 1}},
            "$or": [{"asset_metadata.d": "$e"}, {"$comment": "f"}],
            "$expr": {"$eq": [
                "$asset_metadata.g.h", {"$literal": "$i"}, "$$ROOT.asset_metadata.j", "$$this", "k",
            ]},
        });
        assert_eq!(moved, expected);
        assert_eq!(sort(&json!({"a": -1})), json!({"asset_metadata.a": -1}));
    }
}
