//! What `agent-cli` prints as JSON, held against docs/json.md: each member is on the page, and each one on the page is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use soft_token::Touch;
use tests::{Env, KeyFile, PIN, TokenKind};

/// JSON in which no object has a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(Strict(element)) = list.next_element()? {
                    elements.push(element);
                }
                Ok(elements.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, Strict(value))) = object.next_entry::<String, _>()? {
                    if members.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("{name} is there twice")));
                    }
                }
                Ok(members.into())
            }
        }
        deserializer.deserialize_any(Any).map(Self)
    }
}

/// Where each value stands, a list's elements as `…[]`. What is null or empty has nothing below.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    found.insert(path.to_owned());
    match value {
        Value::Object(members) => {
            let dot = if path.is_empty() { "" } else { "." };
            // A setting's name has a point in it.
            let name = |name: &str| name.replace('.', "_");
            members.iter().for_each(|(own, value)| paths(value, &format!("{path}{dot}{}", name(own)), found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| paths(element, &format!("{path}[]"), found)),
        _ => {}
    }
}

/// Whether this is documented: as it stands there, with a name of its own for each `*`.
fn is(path: &str, documented: &str) -> bool {
    let (path, documented) = (path.split('.'), documented.split('.'));
    path.clone().count() == documented.clone().count()
        && path.zip(documented).all(|(one, other)| other == "*" || one == other)
}

/// What is above this: `a[].b` is below `a[]`, `a` and the whole.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().filter(|(_, c)| ".[".contains(*c)).map(|(end, _)| &path[..end]).chain([""])
}

struct Page {
    text: String,
    /// The commands that were held against it.
    seen: BTreeSet<String>,
}

impl Page {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
        Self { text: fs::read_to_string(path).unwrap(), seen: BTreeSet::new() }
    }

    /// The members that the section of a command names.
    fn of(&self, command: &str) -> Vec<&str> {
        let section = self.text.split("\n## ").find(|section| section.starts_with(&format!("`agent-cli {command}`\n")));
        let rows = section.unwrap_or_else(|| panic!("no section for {command}")).lines();
        let rows = rows.filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
        rows.flat_map(|names| names.split('`').skip(1).step_by(2)).collect()
    }

    /// Holds what a command has printed against its section.
    fn holds(&mut self, command: &str, printed: &str) {
        let Strict(json) =
            serde_json::from_str(printed).unwrap_or_else(|error| panic!("{command}: {error} in {printed}"));
        assert!(printed.is_ascii() && json["version"] == 1, "{printed}");
        assert!(printed.trim_start_matches(['{', ' ', '\n']).starts_with("\"version\""), "{printed}");
        let mut found = BTreeSet::new();
        paths(&json, "", &mut found);
        found.remove("version");
        let documented = self.of(command);
        for path in &found {
            let known = |path: &str| documented.iter().any(|documented| is(path, documented));
            let goes_on =
                |path: &str| documented.iter().any(|documented| above(documented).any(|above| is(path, above)));
            assert!(known(path) || goes_on(path) || above(path).any(known), "{command}: {path} is not on the page");
        }
        for member in documented {
            let empty = |path: &&String| {
                json_at(&json, path).is_some_and(|value| {
                    value.is_null() || *value == Value::Array(vec![]) || *value == Value::Object(Map::new())
                })
            };
            let nothing_there = found.iter().filter(empty).any(|path| above(member).any(|above| is(path, above)));
            assert!(nothing_there || found.iter().any(|path| is(path, member)), "{command}: {member} is not there");
        }
        self.seen.insert(command.to_owned());
    }

    /// Every section was looked at.
    fn is_seen(&self) {
        let all = self.text.lines().filter_map(|line| line.strip_prefix("## `agent-cli ")?.strip_suffix('`'));
        assert_eq!(all.map(ToOwned::to_owned).collect::<BTreeSet<_>>(), self.seen);
    }
}

/// The first value at this path.
fn json_at<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    let pointer = format!("/{}", path.replace("[]", "/0").replace('.', "/"));
    if path.is_empty() { Some(json) } else { json.pointer(&pointer) }
}

#[test]
fn each_command_prints_the_members_that_are_documented() {
    let env = Env::new();
    let _token = env.plug(TokenKind::Fingerprint.options().touch(Touch::Always));
    let agent = env.agent().start();
    let mut page = Page::read();
    let pin = format!("{PIN}\n");
    let registered = env.path("registered");
    let publishing =
        |arguments: &[&str]| agent.cli(arguments.iter().copied()).args(["--json", "--yes", "--to"]).arg(&registered);
    let gen_keys = publishing(&["-S", "gen-keys", "--no-passphrase", "--publish"]);
    page.holds("gen-keys", &gen_keys.input(pin.as_str()).run().success().stdout);
    let key = env.path("home/.ssh/id_ed25519_sk.pub");
    page.holds("publish", &publishing(&["publish"]).arg(&key).run().success().stdout);
    // A FIDO key signs no test data.
    agent.program("ssh-add").arg("-T").arg(&key).run().code(1);

    for command in ["list", "status", "tokens", "export authorized-keys", "config show", "config check", "config path"]
    {
        let printed = agent.cli(command.split(' ').chain(["--json"])).run().success().stdout;
        page.holds(command, &printed);
    }
    let nowhere = agent.cli(["published", "--json", "--to"]).arg(env.path("authorized_keys"));
    page.holds("published", &nowhere.run().code(1).stdout);
    let device = env.host("device");
    device.authorize(&KeyFile::new(env.path("home/.ssh/id_ed25519_sk"), true));
    let rehearsed = agent.cli(["rehearse", "--json", "-F"]).arg(env.ssh_config()).arg("device").run().success();
    page.holds("rehearse", &rehearsed.stdout);
    page.holds("status", &agent.cli(["status", "--json"]).run().success().stdout);
    page.holds("doctor", &agent.cli(["doctor", "--json"]).run().stdout);
    for command in ["tokens credentials", "tokens fingerprints"] {
        let arguments = ["-S"].into_iter().chain(command.split(' ')).chain(["--json"]);
        page.holds(command, &agent.cli(arguments).input(pin.as_str()).run().success().stdout);
    }
    for command in ["why", "audit checkpoint", "audit verify"] {
        page.holds(command, &agent.cli(command.split(' ').chain(["--json"])).run().success().stdout);
    }
    let shown = agent.cli(["audit", "show", "--json"]).run().success().stdout;
    let request = shown.lines().find(|line| line.contains("\"what\":\"request\"")).expect("something was asked");
    let act = shown.lines().find(|line| line.contains("\"act\":\"generate\"")).expect("a key was made");
    page.holds("audit show", request);
    let Strict(act) = serde_json::from_str(act).unwrap();
    assert_eq!((&act["version"], &act["what"]), (&1.into(), &"act".into()));
    let refresh = publishing(&["-S", "refresh", "--no-passphrase"]);
    page.holds("refresh", &refresh.input("yes\n").run().success().stdout);
    page.is_seen();
}

/// Where the answer is no, the exit code says so, and the object why.
#[test]
fn mistakes_in_the_settings_are_told_in_json() {
    let env = Env::new();
    fs::write(env.path("wrong.toml"), "opake = \"deny\"\n").unwrap();
    let checked =
        env.program(tests::built("agent-cli")).args(["config", "check", "--json"]).arg(env.path("wrong.toml"));
    let checked = checked.run().code(1);
    assert_eq!(checked.stderr, "");
    let Strict(json) = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&json["usable"], &json["mistakes"][0]["line"]), (&false.into(), &1.into()));
    assert!(json["mistakes"][0]["what"].as_str().unwrap().contains("did you mean `opaque`?"), "{json}");
}
