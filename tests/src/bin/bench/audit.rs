//! The audit log: what it costs a signature, and how fast a long one is read.
//!
//! There is no agent without a log. What the disk takes of a signature is seen beside one whose log is in memory; what the
//! records take, beside ssh-agent, which has none.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent::audit::canonical;
use agent::audit::chain::{Hash, Head};
use serde_json::Value;
use tempfile::TempDir;
use tests::{Env, SIGN_RESPONSE, built, peak_memory};

use crate::contender::{Contender, Key, Which};
use crate::software::speed;

const RECORDS: [u64; 2] = [100_000, 1_000_000];

/// When a segment is full, as in the product.
const SEGMENT: u64 = 16 * 1024 * 1024;

pub(crate) fn run() {
    signatures();
    println!();
    let templates = templates();
    println!("{:42} {:>12} {:>14} {:>12}", "", "time", "records", "peak memory");
    let is_act = |record: &Value| record["record"] == "act" && record["act"] == "add";
    let acts: Vec<_> = templates.iter().filter(|record| is_act(record)).cloned().collect();
    let is_login = |record: &Value| record["record"] == "intent" || record["record"] == "outcome";
    let logins: Vec<_> = templates.iter().filter(|record| is_login(record)).cloned().collect();
    assert_eq!((acts.len(), logins.len()), (1, 2), "a key was added, and it has signed");
    for (name, of) in [("acts", acts), ("Ed25519 logins", logins)] {
        for records in RECORDS {
            let (_folder, log) = long_log(&of, records);
            reading(&format!("verify, {name}"), &["verify"], &log, records);
            reading(&format!("show --json, {name}"), &["show", "--json"], &log, records);
        }
    }
}

/// A folder on the disk on which this program is, whatever /tmp is.
fn on_disk() -> TempDir {
    let program = std::env::current_exe().expect("a program knows its file");
    TempDir::new_in(program.parent().expect("a program is in a folder")).expect("it was just built there")
}

fn signatures() {
    let (disk, memory) = (on_disk(), TempDir::new_in("/dev/shm").expect("Linux has a file system in memory"));
    // Each is the only agent of its place.
    let places = [Env::new(), Env::new(), Env::new()];
    let agents = [
        Contender::start(&places[0], Which::SshAgent),
        Contender::start_with_state_in(&places[1], memory.path()),
        Contender::start_with_state_in(&places[2], disk.path()),
    ];
    let key = Key::new();
    let (blob, data) = (key.blob(), key.login());
    agents.iter().for_each(|agent| key.add(&mut agent.connect(), false));
    println!("{:42} {:>12} {:>14} {:>12}", "", "no log", "log in memory", "log on disk");
    for connections in [1, 8] {
        let speeds = agents.each_ref().map(|agent| format!("{:.0} /s", speed(agent, connections, &blob, &data)));
        let name = format!("Ed25519 logins signed, {connections} connection(s)");
        println!("{name:42} {:>12} {:>14} {:>12}", speeds[0], speeds[1], speeds[2]);
    }
}

/// Records of an agent: a key is added, and signs a login.
fn templates() -> Vec<Value> {
    let env = Env::new();
    let state = on_disk();
    let agent = Contender::start_with_state_in(&env, state.path());
    let key = Key::new();
    let mut client = agent.connect();
    key.add(&mut client, false);
    assert_eq!(client.sign(&key.blob(), &key.login())[0], SIGN_RESPONSE);
    let instances = state.path().join("fido-ssh-agent").read_dir().expect("the agent has made its folder");
    let mut logs = instances.map(|instance| instance.expect("a folder").path().join("audit.jsonl"));
    let log = logs.find(|log| log.exists()).expect("the agent has a log");
    let text = std::fs::read_to_string(log).expect("a log is text");
    text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

/// A log of these records, again and again, in segments: each login has another number.
fn long_log(templates: &[Value], records: u64) -> (TempDir, PathBuf) {
    let folder = on_disk();
    let log = folder.path().join("audit.jsonl");
    let open = || BufWriter::new(File::create(&log).expect("the folder is ours"));
    let (mut head, mut file, mut length, mut written) = (Head::default(), open(), 0, 0_usize);
    let segment = |head: Head| {
        let mut record = templates[0].clone();
        let beginning = record.as_object_mut().expect("a record is an object");
        beginning.retain(|name, _| ["version", "time", "boot_ms", "agent"].contains(&name.as_str()));
        record["record"] = "act".into();
        record["act"] = "segment".into();
        record["head"] = serde_json::to_value(head).expect("a head has a form in JSON");
        record["open"] = Value::Array(vec![]);
        record
    };
    while head.sequence < records {
        let mut record = templates[written % templates.len()].clone();
        if record["record"] != "act" {
            record["request"] = (written / templates.len()).into();
        }
        if length >= SEGMENT {
            file.flush().expect("there is room");
            let full = folder.path().join(format!("audit.{:016}.jsonl", head.sequence));
            std::fs::rename(&log, full).expect("the folder is ours");
            (file, length) = (open(), 0);
            record = segment(head);
        } else {
            written += 1;
        }
        record["sequence"] = (head.sequence + 1).into();
        record["previous"] = head.hash.to_string().into();
        let line = canonical::to_vec(&record).expect("it was canonical before");
        file.write_all(&line).and_then(|()| file.write_all(b"\n")).expect("there is room");
        length += line.len() as u64 + 1;
        head = Head { sequence: head.sequence + 1, hash: Hash::of(&line) };
    }
    file.flush().expect("there is room");
    (folder, log)
}

/// How long `agent-cli audit` takes for a log, and the most memory that it takes.
fn reading(name: &str, command: &[&str], log: &Path, records: u64) {
    let env = Env::new();
    let shell = env.program("sh").args(["-c", "exec \"$@\" >/dev/null", "sh"]).arg(built("agent-cli")).arg("audit");
    let began = Instant::now();
    let reader = shell.args(command).arg("--log").arg(log).start();
    let mut peak = 0;
    // The kernel tells of it as long as the program runs.
    while let Some(most) = peak_memory(reader.pid()) {
        peak = most;
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = began.elapsed().as_secs_f64();
    drop(reader.wait().success());
    let speed = format!("{:.0} /s", records as f64 / time);
    println!("{:42} {time:>10.2} s {speed:>14} {:>8.1} MiB", format!("{name}, {records}"), peak as f64 / 1024.0);
}
