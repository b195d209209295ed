//! What somebody does to a log.

use agent::audit::AuditLog;
use agent::audit::log::FileLog;
use agent::audit::log::retention::Retention;
use agent::audit::record::Act;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::files::{Files, text};

/// The classes of the table, each with some changes of it.
pub(crate) fn classes(real: &Files) -> Vec<(&'static str, Vec<Files>)> {
    let last = real.last();
    let lines = real.lines(last);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        real.with_lines(last, &lines)
    };
    let place = lines.len() / 2;
    let whole = &real.0[last].1;
    let cut = |file: usize, bytes: usize| {
        let mut cut = real.clone();
        let left = cut.0[file].1.len() - bytes;
        cut.0[file].1.truncate(left);
        cut
    };
    let cut_by = |bytes| cut(last, bytes);
    vec![
        ("a bit flipped in any field of a record that is not the last", bits_flipped(real)),
        (
            "a field of the last record changed to another value that it may have",
            vec![with(&|lines| last_changed(lines))],
        ),
        ("a bit of its signature flipped, where the last record has one", vec![signature_flipped(real)]),
        ("a record deleted", vec![with(&|lines| drop(lines.remove(place))), with(&|lines| drop(lines.remove(0)))]),
        ("two records swapped", vec![with(&|lines| lines.swap(place, place + 1))]),
        ("a record doubled", vec![with(&|lines| lines.insert(place, lines[place].clone()))]),
        (
            "a line inserted",
            vec![
                with(&|lines| lines.insert(place, String::new())),
                with(&|lines| lines.insert(place, "{}".into())),
                with(&|lines| lines.insert(place, earlier(&lines[place + 1]))),
            ],
        ),
        ("the tail cut behind a record", vec![with(&|lines| lines.truncate(place)), with(&|lines| drop(lines.pop()))]),
        ("the tail cut within a record", vec![cut_by(2), cut_by(whole.len() - real.last_line() - 1)]),
        ("the last line's end cut", vec![cut_by(1)]),
        ("the line's end of a full segment cut", (0..last).map(|file| cut(file, 1)).collect()),
        ("the last file removed", vec![Files([&real.0[..last], &[(real.0[last].0.clone(), vec![])]].concat())]),
        ("a segment removed that is not the first", vec![Files([&real.0[..1], &real.0[2..]].concat())]),
        ("the first segments removed", vec![Files(real.0[1..].to_vec()), Files(real.0[2..].to_vec())]),
        ("the first segments removed by an agent, as configured", vec![removed_by_an_agent(real)]),
        ("two segments swapped", vec![swapped(real)]),
        ("one record changed, and hashed anew in the next", vec![with(&|lines| hashed_anew(lines, place))]),
        (
            "a record changed that no signature covers, all chained anew",
            vec![with(&|lines| lines[place] = earlier(&lines[place])).chained_anew()],
        ),
        ("a whole request removed, all chained anew", vec![without_a_request(real).chained_anew()]),
        ("a login's user changed, all chained anew", vec![user_changed(real).chained_anew()]),
        ("a token's flags changed, all chained anew", vec![flags_changed(real).chained_anew()]),
        ("a host on the way left out, all chained anew", vec![host_left_out(real).chained_anew()]),
    ]
}

/// A bit in each field that has one, of one record of each kind.
fn bits_flipped(real: &Files) -> Vec<Files> {
    let mut kinds = Vec::new();
    let mut flipped = Vec::new();
    for file in 0..=real.last() {
        let lines = real.lines(file);
        for (place, line) in lines.iter().enumerate() {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            let kind = ["record", "act", "result"].map(|name| record[name].to_string()).concat();
            if kinds.contains(&kind) || (file, place + 1) == (real.last(), lines.len()) {
                continue;
            }
            kinds.push(kind);
            for leaf in leaves(&record) {
                let mut changed = record.clone();
                flip(changed.pointer_mut(&leaf).unwrap());
                let mut lines = lines.clone();
                lines[place] = text(&changed);
                flipped.push(real.with_lines(file, &lines));
            }
        }
    }
    flipped
}

/// Pointers to all values in a record that have a bit to flip.
fn leaves(value: &Value) -> Vec<String> {
    let below = |(name, value): (String, &Value)| {
        leaves(value).into_iter().map(move |rest| format!("/{name}{rest}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).flat_map(below).collect(),
        Value::Array(values) => {
            values.iter().enumerate().map(|(n, value)| (n.to_string(), value)).flat_map(below).collect()
        }
        Value::String(text) if !text.is_ascii() || text.is_empty() => vec![],
        Value::Null => vec![],
        Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![String::new()],
    }
}

fn flip(value: &mut Value) {
    *value = match &*value {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => json!(number.as_i64().unwrap() ^ 1),
        Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            json!(String::from_utf8(bytes).unwrap())
        }
        other => panic!("{other} has no bit to flip"),
    };
}

/// The same record, a year earlier.
fn earlier(line: &str) -> String {
    let mut record: Value = serde_json::from_str(line).unwrap();
    let time = record["time"].as_str().unwrap();
    let year: u32 = time[..4].parse().unwrap();
    record["time"] = format!("{:04}{}", year - 1, &time[4..]).into();
    text(&record)
}

fn last_changed(lines: &mut [String]) {
    let last = lines.last_mut().unwrap();
    *last = earlier(last);
}

/// The log up to a record with a signature, a bit of which is flipped.
fn signature_flipped(real: &Files) -> Files {
    let mut lines = real.lines(real.last());
    let signed = lines.iter().rposition(|line| line.contains(r#""result":"signed""#)).expect("something was signed");
    lines.truncate(signed + 1);
    let mut record: Value = serde_json::from_str(&lines[signed]).unwrap();
    flip(&mut record["signature"]);
    lines[signed] = text(&record);
    real.with_lines(real.last(), &lines)
}

/// An agent keeps as little as it can.
fn removed_by_an_agent(real: &Files) -> Files {
    let (_folder, path) = real.write();
    let retention = Retention { size: Some(1), ..Retention::default() };
    let log = FileLog::open_as_configured(
        &path,
        agent::audit::run::begin("default", agent::audit::chain::Hash::NONE),
        None,
        retention,
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.act(Act::Lock)).unwrap();
    drop(log);
    let left = Files::read(&path);
    assert_eq!(left.last(), 0, "the file that is written to stays");
    left
}

/// Two full segments have each other's names.
fn swapped(real: &Files) -> Files {
    let mut files = real.clone();
    let [(_, first), (_, second), ..] = &mut files.0[..] else { panic!("there are two segments") };
    std::mem::swap(first, second);
    files
}

fn hashed_anew(lines: &mut [String], place: usize) {
    lines[place] = earlier(&lines[place]);
    let mut next: Value = serde_json::from_str(&lines[place + 1]).unwrap();
    next["previous"] = crate::files::head_of(&lines[place]).hash.to_string().into();
    lines[place + 1] = text(&next);
}

/// Applies a change to the records of the first file in which it finds something to change.
fn in_records(real: &Files, mut change: impl FnMut(&mut Vec<Value>) -> bool) -> Files {
    for file in 0..=real.last() {
        let parse = |line: &String| serde_json::from_str(line).ok();
        let Some(mut records) = real.lines(file).iter().map(parse).collect::<Option<Vec<Value>>>() else { continue };
        if change(&mut records) {
            return real.with_lines(file, &records.iter().map(text).collect::<Vec<_>>());
        }
    }
    panic!("there is nothing to change")
}

/// Without all that is said of the first request that was signed.
fn without_a_request(real: &Files) -> Files {
    in_records(real, |records| {
        let Some(signed) = records.iter().find(|record| record["result"] == "signed").cloned() else { return false };
        records.retain(|record| record["record"] == "act" || record["request"] != signed["request"]);
        true
    })
}

fn user_changed(real: &Files) -> Files {
    in_records(real, |records| {
        let user = |record: &mut Value| record.pointer_mut("/subject/meaning/user").map(|user| *user = "nobody".into());
        records.iter_mut().find_map(user).is_some()
    })
}

/// A token that was touched is said to have verified its user, too.
fn flags_changed(real: &Files) -> Files {
    in_records(real, |records| {
        let flags = records.iter_mut().find_map(|record| record.pointer_mut("/assertion/flags"));
        flags.map(|flags| *flags = json!(flags.as_u64().unwrap() ^ 4)).is_some()
    })
}

/// A login through another host is said to have come from this machine.
fn host_left_out(real: &Files) -> Files {
    in_records(real, |records| {
        let bindings = |record: &mut Value| {
            record.pointer_mut("/subject/bindings").and_then(Value::as_array_mut).map(std::mem::take)
        };
        let signed = records.iter_mut().filter(|record| record["record"] == "intent");
        signed.filter_map(bindings).any(|bindings| !bindings.is_empty())
    })
}

/// A change at random.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A bit of a file is flipped.
    Bit(Index, Index, u8),
    /// Bytes of a file are replaced by others.
    Bytes(Index, Index, usize, Vec<u8>),
    /// A file ends earlier.
    Cut(Index, Index),
    /// A line goes.
    Remove(Index, Index),
    /// A line stands twice.
    Double(Index, Index),
    /// A line changes its place with the next one.
    Swap(Index, Index),
    /// A bit of a field is flipped, in the right form.
    Field(Index, Index, Index),
    /// The same, and all is chained anew.
    Rechained(Index, Index, Index),
}

/// Changes of these files, all of which change something.
pub(crate) fn at_random(real: &Files) -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let real = real.clone();
    let change = prop_oneof![
        (index(), index(), 0..8_u8).prop_map(|(file, place, bit)| Change::Bit(file, place, bit)),
        (index(), index(), 0..4_usize, proptest::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(file, place, instead_of, with)| Change::Bytes(file, place, instead_of, with)),
        (index(), index()).prop_map(|(file, place)| Change::Cut(file, place)),
        (index(), index()).prop_map(|(file, line)| Change::Remove(file, line)),
        (index(), index()).prop_map(|(file, line)| Change::Double(file, line)),
        (index(), index()).prop_map(|(file, line)| Change::Swap(file, line)),
        (index(), index(), index()).prop_map(|(file, line, field)| Change::Field(file, line, field)),
        (index(), index(), index()).prop_map(|(file, line, field)| Change::Rechained(file, line, field)),
    ];
    change.prop_filter("it changes nothing", move |change| change.to(&real) != real)
}

impl Change {
    pub(crate) fn is_chained_anew(&self) -> bool {
        matches!(self, Self::Rechained(..))
    }

    pub(crate) fn to(&self, real: &Files) -> Files {
        let mut files = real.clone();
        match self {
            Self::Bit(file, place, bit) => *place.get_mut(bytes(&mut files, *file)) ^= 1 << bit,
            Self::Bytes(file, place, instead_of, with) => {
                let bytes = bytes(&mut files, *file);
                let place = place.index(bytes.len());
                bytes.splice(place..(place + instead_of).min(bytes.len()), with.iter().copied());
            }
            Self::Cut(file, place) => {
                let bytes = bytes(&mut files, *file);
                bytes.truncate(place.index(bytes.len()));
            }
            Self::Remove(file, line) => {
                return in_lines(real, *file, |lines| drop(lines.remove(line.index(lines.len()))));
            }
            Self::Double(file, line) => {
                return in_lines(real, *file, |lines| {
                    let line = line.index(lines.len());
                    lines.insert(line, lines[line].clone());
                });
            }
            Self::Swap(file, line) => {
                return in_lines(real, *file, |lines| {
                    let line = line.index(lines.len() - 1);
                    lines.swap(line, line + 1);
                });
            }
            Self::Field(file, line, field) => {
                return in_lines(real, *file, |lines| field_flipped(lines, *line, *field));
            }
            Self::Rechained(file, line, field) => {
                return in_lines(real, *file, |lines| field_flipped(lines, *line, *field)).chained_anew();
            }
        }
        files
    }
}

fn bytes(files: &mut Files, file: Index) -> &mut Vec<u8> {
    let file = file.index(files.0.len());
    &mut files.0[file].1
}

fn in_lines(real: &Files, file: Index, change: impl FnOnce(&mut Vec<String>)) -> Files {
    let file = file.index(real.0.len());
    let mut lines = real.lines(file);
    change(&mut lines);
    real.with_lines(file, &lines)
}

fn field_flipped(lines: &mut [String], line: Index, field: Index) {
    let line = line.get_mut(lines);
    let Ok(mut record) = serde_json::from_str::<Value>(line) else { return };
    let leaves = leaves(&record);
    flip(record.pointer_mut(&leaves[field.index(leaves.len())]).unwrap());
    *line = text(&record);
}
