//! The facts behind a row: what is in its records, in words, with whose word it is.

use agent::assertion::{USER_PRESENT, USER_VERIFIED};
use agent::audit::history::{Entry, What};
use agent::audit::record::{
    Act, Assertion, Attempt, Binding, BindingEvidence, Certified, Course, Intent, Kept, Meaning, Outcome, Peer,
    PromptKind, Signer, Subject, Token,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::acts::in_words;
use super::super::names::{Host, Names};
use super::super::reading::{self, counted, verified_by};

/// Facts that belong together, and whose word they are.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) source: &'static str,
    pub(super) facts: Vec<Fact>,
}

#[derive(Debug)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

fn fact(name: impl Into<String>, value: impl Into<String>) -> Fact {
    Fact { name: name.into(), value: value.into() }
}

pub(super) fn sections(entry: &Entry, names: &Names) -> Vec<Section> {
    let mut sections = Vec::new();
    match &entry.what {
        What::Request { intent, attempts, outcome, course } => {
            sections.push(Section { title: "How it ended", source: "", facts: end(outcome, course.as_ref()) });
            if !attempts.is_empty() {
                let facts = (1..).zip(attempts).map(|(number, attempt)| tried(number, attempt)).collect();
                sections.push(Section { title: "Tries before", source: "agent", facts });
            }
            if let Some(subject) = entry.subject() {
                sections.push(Section {
                    title: "What was asked",
                    source: "",
                    facts: asked(subject, intent.as_deref()),
                });
                sections.push(Section { title: "Who asked", source: "reported", facts: asker(&subject.peer) });
                sections.push(Section { title: "On the way", source: "", facts: way(&subject.bindings, names) });
            }
            if let Some(intent) = intent {
                sections.push(Section {
                    title: "What holds the key",
                    source: "reported",
                    facts: signer(&intent.signer),
                });
                sections.push(Section { title: "Evidence", source: "verified", facts: evidence(intent, outcome) });
            }
            if let Some(course) = course {
                sections.push(Section { title: "Prompts and times", source: "agent", facts: self::course(course) });
            }
        }
        What::Act { act } => sections.push(Section { title: "What was done", source: "agent", facts: of_act(act) }),
    }
    sections.push(Section { title: "The record", source: "agent", facts: record(entry) });
    sections.retain(|section| !section.facts.is_empty());
    sections
}

fn end(outcome: &Outcome, course: Option<&Course>) -> Vec<Fact> {
    let mut facts = match outcome {
        Outcome::Signed { assertion, .. } => {
            let mut facts = vec![fact("Result", "signed")];
            facts.extend(assertion.iter().flat_map(token_says));
            facts
        }
        Outcome::Refused { denial, .. } => vec![
            fact("Result", "refused"),
            fact("Code", denial.code.as_str()),
            fact("Reason", &denial.reason),
            fact("Next step", denial.code.next()),
        ],
        Outcome::Unknown { .. } => {
            vec![fact("Result", "unknown: the agent was killed before it could say whether a signature left it")]
        }
    };
    facts.extend(course.map(|course| fact("Took", format!("{} ms", reading::grouped(course.times.total)))));
    facts
}

fn token_says(assertion: &Assertion) -> Vec<Fact> {
    let Assertion { flags, counter, counter_step, assertions, user_verification } = *assertion;
    let flag = |bit, yes: &'static str, no: &'static str| if flags & bit != 0 { yes } else { no };
    let flags_in_words = format!(
        "{flags:#04x}: {}, {}",
        flag(USER_PRESENT, "touched", "not touched"),
        flag(USER_VERIFIED, "user verified", "user not verified")
    );
    let step = counter_step.map_or_else(|| "the first of this run".into(), |step| format!("a step of {step}"));
    vec![
        fact("Token’s flags", format!("{flags_in_words} [verified]")),
        fact("Token’s counter", format!("{counter} [verified], {step}; {assertions} assertions in this run")),
        fact("User verified by", format!("{} [reported]", verified_by(user_verification))),
    ]
}

fn tried(number: usize, attempt: &Attempt) -> Fact {
    let Attempt { user_verification, error, ctap_status, tries_left } = attempt;
    let status = ctap_status.map_or_else(String::new, |status| format!(", CTAP status {status:#04x}"));
    let left =
        tries_left.map_or_else(String::new, |left| format!(", {}", counted(left.into(), "try left", "tries left")));
    let value = format!("by {}: {error}{status}{left}", verified_by(*user_verification));
    fact(format!("Try {number}"), value)
}

fn asked(subject: &Subject, intent: Option<&Intent>) -> Vec<Fact> {
    let mut facts = match &subject.meaning {
        Meaning::Login { user, service, method, host_key } => {
            let mut facts = vec![fact("User", user), fact("Method", format!("{method} for {service}"))];
            facts.extend(host_key.iter().map(|key| fact("Host key it names", key)));
            facts
        }
        Meaning::Signature { namespace } => vec![fact("SSHSIG namespace", namespace)],
        Meaning::Certificate { certificate, certified } => {
            let mut facts = vec![fact("Certificate type", certificate)];
            facts.extend(certified.iter().map(|certified| fact("It is to say", certificate_says(certified))));
            facts
        }
        Meaning::Opaque => vec![fact("Data", "neither a login nor anything else that has a name")],
    };
    facts.push(fact("Key", &subject.key));
    facts.extend(subject.application.iter().map(|application| fact("FIDO application", application)));
    facts.extend(subject.certificate.iter().map(|certified| fact("Certificate", certificate_says(certified))));
    if let Some(intent) = intent {
        facts.push(fact("Where it goes", &intent.destination));
        let rule = serde_json::to_value(intent.rule).ok().and_then(|rule| rule.as_str().map(ToOwned::to_owned));
        facts.push(fact("Allowed by rule", rule.unwrap_or_default()));
    }
    facts
}

fn certificate_says(certified: &Certified) -> String {
    format!("id {}, serial {}, by {}", certified.id, certified.serial, certified.authority)
}

fn asker(peer: &Peer) -> Vec<Fact> {
    let pinned = if peer.pinned { "named by the kernel" } else { "by its number alone" };
    let mut facts = vec![fact("Process", format!("{} of user id {}, {pinned}", peer.pid, peer.uid))];
    facts.extend((0..).zip(&peer.programs).map(|(place, program)| {
        let file = program.executable.as_ref().map_or_else(String::new, |file| format!(", {file}"));
        let name = if place == 0 { "Program" } else { "started by" };
        fact(name, format!("{} ({}){file}", program.name, program.pid))
    }));
    facts
}

fn way(bindings: &[Binding], names: &Names) -> Vec<Fact> {
    let host = |(place, binding): (usize, &Binding)| {
        let Host { fingerprint, name } = names.host(&binding.host_key);
        let name = name.map_or_else(String::new, |name| format!("{name} [reported], "));
        let what = if binding.forwarding { "forwarded to" } else { "for a login at" };
        fact(format!("Host {place}"), format!("{what} {name}{fingerprint}"))
    };
    (1..).zip(bindings).map(host).collect()
}

fn signer(signer: &Signer) -> Vec<Fact> {
    let mut facts = vec![fact("Holder", holder(signer))];
    if let Signer::Token { token, user_verification } = signer {
        let Token { product, serial, path, name, aaguid } = token;
        facts = vec![fact("Token", format!("{product}, serial {serial}, at {path}"))];
        facts.extend(name.iter().map(|name| fact("Named", name)));
        facts.extend(aaguid.iter().map(|aaguid| fact("AAGUID", aaguid)));
        facts.push(fact("User to be verified by", verified_by(*user_verification)));
    }
    facts
}

/// What holds a key, in a few words.
pub(super) fn holder(signer: &Signer) -> String {
    match signer {
        Signer::Token { token, .. } => match &token.name {
            Some(name) => format!("token “{name}”"),
            None => format!("token {}", token.product),
        },
        Signer::Software => "software".into(),
        Signer::Upstream { socket } => format!("agent at {socket}"),
    }
}

fn evidence(intent: &Intent, outcome: &Outcome) -> Vec<Fact> {
    let mut facts =
        vec![fact("Public key", kept(&intent.evidence.key)), fact("Signed data", kept(&intent.evidence.data))];
    if let Outcome::Signed { signature, .. } = outcome {
        facts.push(fact("Signature", STANDARD.encode(&signature.0)));
    }
    for (place, binding) in (1..).zip(&intent.evidence.bindings) {
        let BindingEvidence { host_key, session_id, signature, .. } = binding;
        facts.push(fact(format!("Host {place}: key"), kept(host_key)));
        facts.push(fact(format!("Host {place}: session"), STANDARD.encode(&session_id.0)));
        facts.push(fact(format!("Host {place}: signature"), STANDARD.encode(&signature.0)));
    }
    facts
}

fn kept(kept: &Kept) -> String {
    match kept {
        Kept::Whole(bytes) => STANDARD.encode(&bytes.0),
        Kept::Hashed { length, hash } => format!("not kept: {length} bytes, SHA-256 {hash}"),
    }
}

fn course(course: &Course) -> Vec<Fact> {
    let Course { prompts, times } = course;
    let mut facts: Vec<_> = prompts
        .iter()
        .map(|prompt| {
            let kind = match prompt.kind {
                PromptKind::Confirm => "Yes or no",
                PromptKind::Secret => "PIN or passphrase",
                PromptKind::Notice => "Notice",
            };
            let ms = prompt.ms.map_or_else(String::new, |ms| format!(", {} ms", reading::grouped(ms)));
            fact(kind, format!("in {}{ms}, SHA-256 of its text {}", prompt.channel, prompt.hash))
        })
        .collect();
    let of_total = [
        ("waiting for others", times.queue),
        ("person", times.person),
        ("token", times.token),
        ("other agent", times.upstream),
        ("disk", times.disk),
    ];
    let parts = of_total.iter().filter(|(_, ms)| *ms > 0).map(|(what, ms)| format!("{what} {}", reading::grouped(*ms)));
    let parts: Vec<_> = parts.collect();
    let total = reading::grouped(times.total);
    let text = if parts.is_empty() { total } else { format!("{total}, of which {}", parts.join(", ")) };
    facts.push(fact("Milliseconds", text));
    facts
}

/// By its own words in the record, so that each new act is shown as it is.
fn of_act(act: &Act) -> Vec<Fact> {
    let Ok(Value::Object(members)) = serde_json::to_value(act) else { return Vec::new() };
    let other = |(name, member): (String, Value)| fact(name.replace('_', " "), in_words(&member));
    let mut facts: Vec<_> = members.into_iter().filter(|(name, _)| name != "peer").map(other).collect();
    facts.extend(peer(act).into_iter().flat_map(asker));
    facts
}

/// The program that an act is about.
pub(super) fn peer(act: &Act) -> Option<&Peer> {
    match act {
        Act::Refused { peer, .. }
        | Act::Muted { peer, .. }
        | Act::Unmuted { peer, .. }
        | Act::RootConnection { peer }
        | Act::Attach { peer, .. } => Some(peer),
        Act::ComeBack { peer } => peer.as_ref(),
        _ => None,
    }
}

fn record(entry: &Entry) -> Vec<Fact> {
    let numbers: Vec<_> = entry.records.iter().map(ToString::to_string).collect();
    let agent = &entry.agent;
    vec![
        fact("Numbers", numbers.join(", ")),
        fact("Written", entry.time.to_string()),
        fact(
            "Agent",
            format!("{}, version {}, process {}, run {}", agent.instance, agent.version, agent.pid, agent.run.0),
        ),
        fact("Boot", &agent.boot_id),
        fact("Settings", agent.config.to_string()),
    ]
}
