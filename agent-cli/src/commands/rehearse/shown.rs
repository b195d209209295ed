//! A rehearsal, for people.

use super::result::{Finding, Hop, Rehearsal, Times, VerifyRequired};
use crate::output::aligned;
use crate::safe::safe;

pub(super) fn describe(rehearsal: &Rehearsal) -> String {
    let mut parts = vec![verdict(rehearsal)];
    for (number, hop) in (1..).zip(&rehearsal.hops) {
        parts.push(format!("{}\n{}", safe(&format!("{number}. {}", hop.host)), of_hop(hop, rehearsal)));
    }
    parts.push(aligned("", of_all(rehearsal)));
    if !rehearsal.remarks.is_empty() {
        parts.push(format!("Worth a look:\n{}", list(&rehearsal.remarks)));
    }
    parts.push(format!("In an emergency:\n{}", list(&rehearsal.emergency)));
    parts.join("\n\n")
}

/// How it ended, and what to do.
fn verdict(rehearsal: &Rehearsal) -> String {
    let road = rehearsal.road();
    match &rehearsal.cause {
        None => safe(&format!("passed: {road}")),
        Some(cause) => {
            let host = cause.host.as_deref().unwrap_or(&rehearsal.destination);
            let (first, second) = (format!("FAILED: {road}"), format!("{host}: {} ({})", cause.what, cause.code));
            format!("{}\n{}\n→ {}", safe(&first), safe(&second), safe(&cause.next))
        }
    }
}

fn of_hop(hop: &Hop, rehearsal: &Rehearsal) -> String {
    let mut rows = Vec::new();
    let as_user = hop.user.as_ref().map(|user| format!(", as {user}")).unwrap_or_default();
    rows.extend(hop.address.as_ref().map(|address| ("address", format!("{address}{as_user}"))));
    rows.extend(hop.software.clone().map(|software| ("software", software)));
    let known = if hop.known { "known" } else { "not known" };
    rows.extend(hop.host_key.as_ref().map(|key| ("host key", format!("{key}, {known}"))));
    if !hop.methods.is_empty() {
        rows.push(("demands", hop.methods.join(" or ")));
    }
    let hostbound = if hop.hostbound { "a login that names the host" } else { "no login that names the host" };
    if hop.software.is_some() {
        rows.push(("supports", hostbound.into()));
    }
    match hop.agent_forwarding {
        Some(true) => rows.push(("agent", "forwarded there, and asked from there".into())),
        Some(false) => rows.push(("agent", "not asked from there, though it was to be forwarded".into())),
        None => {}
    }
    rows.extend(hop.key.clone().map(|key| ("key", key)));
    for request in rehearsal.record.requests.iter().filter(|request| hop.requests.contains(&request.record)) {
        let token = request.token.as_ref();
        let token = token.map(|token| format!(", on token {}", token.name.as_ref().unwrap_or(&token.product)));
        let by = request.verified_by.as_ref().map(|by| format!(", by {by}"));
        let end = request.code.clone().map_or_else(|| "signed".to_owned(), |code| format!("REFUSED {code}"));
        rows.push((
            "record",
            format!("#{} {end}{}{}", request.record, token.unwrap_or_default(), by.unwrap_or_default()),
        ));
        let bound = request.bindings.iter().map(|binding| {
            let name = rehearsal.hops.iter().find(|hop| hop.host_key.as_ref() == Some(&binding.host_key));
            let name = name.map_or(&binding.host_key, |hop| &hop.host);
            if binding.forwarding { format!("forwarded to {name}") } else { format!("for a login at {name}") }
        });
        let bound = bound.collect::<Vec<_>>().join(", then ");
        rows.push((
            "bound",
            if bound.is_empty() { "to no host: its client is too old for that".into() } else { bound },
        ));
    }
    rows.push(match hop.ms {
        Some(ms) => ("let in", format!("after {}", seconds(ms))),
        None => ("let in", "no".into()),
    });
    aligned("   ", rows)
}

fn of_all(rehearsal: &Rehearsal) -> Vec<(&'static str, String)> {
    let Times { total_ms, network_ms, person_ms, token_ms, agent_ms } = rehearsal.times;
    let parts = [("network", network_ms), ("you", person_ms), ("token", token_ms), ("agent", agent_ms)];
    let parts: Vec<_> = parts.iter().map(|(what, ms)| format!("{what} {}", seconds(*ms))).collect();
    let verify_required = match (rehearsal.verify_required, &rehearsal.not_tested) {
        (VerifyRequired::NotTested, Some(Finding { code, what, next, .. })) => {
            format!("not tested: {what} ({code}). {next}")
        }
        (VerifyRequired::NotTested, None) => "not tested".into(),
        (VerifyRequired::NotEnforced, _) => "not demanded: it let in without".into(),
        (VerifyRequired::Enforced, _) => "demanded: it refused a login without".into(),
    };
    vec![
        ("time", format!("{}: {}", seconds(total_ms), parts.join(", "))),
        ("verify-required", verify_required),
        ("record", format!("from #{} in {}", rehearsal.record.begun, rehearsal.record.log)),
    ]
}

fn list(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let host = finding.host.as_ref().map_or_else(String::new, |host| format!("{host}: "));
        let line = safe(&format!("- {host}{} ({})", finding.what, finding.code));
        format!("{line}\n  → {}", safe(&finding.next))
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}
