//! The JSON schema of rollout manifests, for editors and other tools. It is generated from the types that
//! read them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};

use super::Manifest;

/// The schema as text, as in `manifests/schema/v1.json`.
pub fn text() -> String {
    let schema = schema_for!(Manifest);
    // Writing a value of maps, lists and words never fails.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of a [`provisioning::Name`].
pub(super) struct NameForm;

impl JsonSchema for NameForm {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A name: a-z, 0-9, '-' and '_', at most 64, not beginning with '-'.",
            "pattern": "^[a-z0-9_][a-z0-9_-]{0,63}$"
        })
    }
}

/// The schema of an agent's name.
pub(super) struct AgentNameForm;

impl JsonSchema for AgentNameForm {
    fn schema_name() -> Cow<'static, str> {
        "AgentName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The name of an agent: letters, digits, '-', '_', '.' and ':', at most 64, \
                            beginning with a letter, a digit or '_'.",
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9._:-]{0,63}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/schema/v1.json");
        let shipped = std::fs::read_to_string(path).unwrap();
        assert_eq!(shipped, text(), "regenerate it with `fwcast schema > manifests/schema/v1.json`");
    }
}
