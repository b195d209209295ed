//! docs/audit-record.schema.json says what a record is: no kind of record and no member is missing in it, and none is in it that
//! the agent does not know. `tests/tests/tampering` holds real logs against it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::collections::BTreeSet;
use std::path::Path;

use agent::audit::canonical;
use agent::audit::record::{Act, Event, Meaning, Outcome, Record, Signer, TokenChange};
use agent::denial::Code;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

struct Schema(Value);

impl Schema {
    fn published() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/audit-record.schema.json");
        Self(serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
    }

    /// Values that this part of the schema takes: one of each kind that it tells apart, with all members.
    fn examples(&self, schema: &Value) -> Vec<Value> {
        let mut examples = vec![self.example_without_alternatives(schema)];
        if let Some(name) = schema["$ref"].as_str() {
            examples = merged(&examples, &self.examples(self.0.pointer(&name[1..]).unwrap()));
        }
        if let Some(alternatives) = schema["oneOf"].as_array() {
            let of_each: Vec<_> = alternatives.iter().flat_map(|schema| self.examples(schema)).collect();
            examples = merged(&examples, &of_each);
        }
        examples
    }

    /// Of a value that has alternatives only its own members; null where it has none.
    fn example_without_alternatives(&self, schema: &Value) -> Value {
        let first = |list: &Value| list.get(0).cloned();
        let known =
            schema.get("const").cloned().or_else(|| first(&schema["enum"])).or_else(|| first(&schema["examples"]));
        known.unwrap_or_else(|| match schema["type"].as_str() {
            Some("boolean") => json!(true),
            Some("integer") => schema["maximum"].clone(),
            Some("array") => Value::Array(self.examples(&schema["items"])),
            _ => match schema["properties"].as_object() {
                Some(properties) => {
                    properties.iter().map(|(name, schema)| (name.clone(), self.richest(schema))).collect()
                }
                None if schema["type"] == "object" => json!({}),
                None => Value::Null,
            },
        })
    }

    /// One that says as much as can be said.
    fn richest(&self, schema: &Value) -> Value {
        self.examples(schema).into_iter().max_by_key(|example| example.to_string().len()).unwrap()
    }

    /// The words that a member may be, wherever it stands.
    fn words(&self, member: &str) -> BTreeSet<String> {
        fn collect(schema: &Value, member: &str, words: &mut BTreeSet<String>) {
            match schema {
                Value::Object(members) => {
                    words.extend(schema["properties"][member]["const"].as_str().map(ToOwned::to_owned));
                    members.values().for_each(|schema| collect(schema, member, words));
                }
                Value::Array(schemas) => schemas.iter().for_each(|schema| collect(schema, member, words)),
                _ => {}
            }
        }
        let mut words = BTreeSet::new();
        collect(&self.0, member, &mut words);
        words
    }
}

/// Each of some objects with the members of each of others. What is no object stands for nothing.
fn merged(some: &[Value], others: &[Value]) -> Vec<Value> {
    let both = |one: &Value, other: &Value| match (one, other) {
        (Value::Object(one), Value::Object(other)) => Value::Object(
            one.iter().chain(other).map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>(),
        ),
        (Value::Null, other) => other.clone(),
        (one, _) => one.clone(),
    };
    some.iter().flat_map(|one| others.iter().map(move |other| both(one, other))).collect()
}

/// The variants of a type, which serde names where it is given none of them.
fn variants<T: DeserializeOwned>(tag: &str) -> BTreeSet<String> {
    let refused = serde_json::from_value::<T>(json!({ tag: "?" })).err().expect("this is no variant").to_string();
    let (_, named) = refused.split_once("expected").unwrap_or_else(|| panic!("serde says {refused:?}"));
    named.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

#[test]
fn each_kind_of_record_is_in_the_schema_and_no_other() {
    let schema = Schema::published();
    assert_eq!(schema.words("act"), variants::<Act>("act"));
    assert_eq!(schema.words("result"), variants::<Outcome>("result"));
    assert_eq!(schema.words("change"), variants::<TokenChange>("change"));
    assert_eq!(schema.words("record"), variants::<Event>("record"));
    let kinds = [variants::<Meaning>("kind"), variants::<Signer>("kind")].into_iter().flatten().collect();
    assert_eq!(schema.words("kind"), kinds);
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schema.0["$defs"]["code"]["enum"], json!(codes));
}

/// The agent reads back exactly the members that it writes, so what it takes has all of them and no other.
#[test]
fn what_the_schema_says_is_what_the_agent_writes() {
    let schema = Schema::published();
    let examples = schema.examples(&schema.0);
    assert!(examples.len() > schema.words("act").len() + schema.words("result").len());
    for example in examples {
        let line = canonical::to_vec(&example).unwrap();
        assert!(canonical::read::<Record>(&line).is_some(), "the agent would not write {example:#}");
    }
}

/// An object has all members that are named for it, and no other.
#[test]
fn nothing_is_left_open() {
    fn check(schema: &Value, path: &str) {
        let Value::Object(members) = schema else {
            schema.as_array().into_iter().flatten().for_each(|schema| check(schema, path));
            return;
        };
        if let Some(properties) = members.get("properties").and_then(Value::as_object) {
            let names: BTreeSet<_> = properties.keys().map(String::as_str).collect();
            let required: BTreeSet<_> =
                schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(names, required, "{path}");
        }
        if members.get("type") == Some(&json!("object")) {
            // A list of numbers by name has a schema for each.
            let others = members.get("additionalProperties").or_else(|| members.get("unevaluatedProperties"));
            let closed = others == Some(&json!(false)) || members.get("properties").is_none() && others.is_some();
            assert!(closed, "{path} takes other members");
        }
        members.iter().for_each(|(name, schema)| check(schema, &format!("{path}/{name}")));
    }
    check(&Schema::published().0, "");
}
/// Every member is in one of the page's tables, and every word for a kind.
#[test]
fn each_member_is_explained() {
    fn collect<'a>(schema: &'a Value, names: &mut BTreeSet<&'a str>) {
        match schema {
            Value::Object(members) => {
                names.extend(schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str));
                members.values().for_each(|schema| collect(schema, names));
            }
            Value::Array(schemas) => schemas.iter().for_each(|schema| collect(schema, names)),
            _ => {}
        }
    }
    let schema = Schema::published();
    let mut names = BTreeSet::new();
    collect(&schema.0, &mut names);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/audit.md")).unwrap();
    let words = ["act", "result", "change", "kind"].map(|member| schema.words(member)).into_iter().flatten();
    for name in names.into_iter().map(ToOwned::to_owned).chain(words) {
        let is_told = |line: &str| line.starts_with('|') && line.contains(&format!("`{name}`"));
        assert!(page.lines().any(is_told), "no table of docs/audit.md names {name}");
    }
}
