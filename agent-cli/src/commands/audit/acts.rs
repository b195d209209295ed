//! What is on record beside signatures, in words: by the record's own ones, so that each new act is told as it is.

use agent::audit::record::Act;
use serde_json::Value;

/// What is said of an act.
pub(super) struct Told {
    /// What it is called.
    pub(super) name: String,
    /// What it was about; nothing where its name says all.
    pub(super) about: String,
}

/// An act in a line.
pub(super) fn told(act: &Act) -> Told {
    let Ok(Value::Object(mut members)) = serde_json::to_value(act) else {
        return Told { name: "act".into(), about: String::new() };
    };
    let name = members.remove("act").map(|name| in_words(&name).replace('_', " "));
    // They say nothing to the eye.
    let hashes = ["config", "hash", "head", "open"];
    let told = members.iter().filter(|(name, member)| !hashes.contains(&name.as_str()) && !member.is_null());
    let told: Vec<_> = told.map(|(name, member)| format!("{} {}", name.replace('_', " "), in_words(member))).collect();
    Told { name: name.unwrap_or_default(), about: told.join(", ") }
}

/// What has a name goes by it; all else is said as JSON does.
pub(super) fn in_words(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(in_words).collect::<Vec<_>>().join("; "),
        Value::Object(_) if text("product").is_some() => {
            text("name").or(text("product")).map(ToOwned::to_owned).unwrap_or_default()
        }
        Value::Object(members) if members.contains_key("programs") => {
            let program = &members["programs"][0]["name"];
            format!("{} ({})", program.as_str().unwrap_or("process"), members["pid"])
        }
        Value::Object(members) if members.contains_key("at_next_start") => {
            let side = |name: &str| text(name).unwrap_or("nothing").to_owned();
            format!("{} from {} to {}", side("name"), side("from"), side("to"))
        }
        other => other.to_string(),
    }
}
