//! The same pages in Chromium, used as a person does.

use std::fs;

use serde_json::json;
use tests::Env;

use crate::browser::Browser;
use crate::{HOSTILE, asked_by_strangers, long_log, report};

/// How many rows are to be seen.
const SHOWN: &str = "[...document.querySelectorAll('.row')].filter(row => row.checkVisibility()).length";

/// So many uses, or ten thousand (`make soak`).
const USES: u64 = 1000;

#[test]
fn a_long_log_opens_filters_and_asks_nobody() {
    let env = Env::new();
    let log = env.path("audit.jsonl");
    let uses = if std::env::var_os("SOAK").is_some() { 10_000 } else { USES };
    let written = long_log::write(&log, &env.path("home/.ssh/known_hosts"), uses);
    let mut browser = Browser::open(&report(&env, &log, &[]));
    let rows = written.signed + written.refused + written.unknown + written.acts;
    assert_eq!(browser.value(SHOWN), rows);
    for (class, expected) in
        [("signed", written.signed), ("refused", written.refused), ("unknown", written.unknown), ("act", written.acts)]
    {
        assert_eq!(browser.value(&format!("document.querySelectorAll('.row.{class}').length")), expected, "{class}");
        assert_eq!(
            browser.value(&format!("document.getElementById('show-{class}').click(), {SHOWN}")),
            expected,
            "{class}"
        );
    }
    assert_eq!(browser.value("document.querySelector('.tiles .pin b').textContent"), written.wrong_pins.to_string());
    browser.value("document.getElementById('show-all').click()");

    // By keyboard: a key leads to the filter, and what is typed there filters.
    let expected = browser.value(
        "[...document.querySelectorAll('.row')].filter(row => /log in as root at spine-1.*mismatch/s.test(row.querySelector('.what').textContent + row.querySelector('.state').textContent)).length",
    );
    browser.press("/", 191, "/");
    assert_eq!(browser.value("document.activeElement.id"), "filter");
    browser.types("ROOT spine-1 mismatch");
    browser.wait_for("document.getElementById('shown').textContent !== ''");
    let shown = browser.value(SHOWN);
    assert!(shown.as_u64() >= expected.as_u64() && shown.as_u64() < Some(rows / 4), "{shown} of {rows}, {expected}");
    assert_eq!(browser.value("document.getElementById('shown').textContent"), format!("{shown} of {rows}"));
    browser.press("Escape", 27, "");
    browser.wait_for("document.getElementById('shown').textContent === ''");
    assert_eq!(browser.value(SHOWN), rows);

    // A row opens by keyboard, and shows its evidence in columns.
    let row = "document.querySelector('.row.signed')";
    browser.value(&format!("{row}.firstElementChild.focus()"));
    browser.press("Enter", 13, "\r");
    browser.wait_for(&format!("{row}.querySelector('div.facts')"));
    assert_eq!(browser.value(&format!("{row}.open")), true);
    let evidence =
        format!("[...{row}.querySelectorAll('dt')].find(name => name.textContent === 'Signed data').nextSibling");
    assert_eq!(browser.value(&format!("{evidence}.checkVisibility() && {evidence}.textContent.length > 200")), true);

    // What deserves a look leads to its row, which opens.
    browser.value("document.querySelector('.concerns a').click()");
    browser.wait_for("location.hash && document.activeElement.parentElement.id === location.hash.slice(1)");
    assert_eq!(browser.value("document.querySelector(location.hash).open"), true);
    assert_eq!(browser.misdeeds(), [] as [&serde_json::Value; 0]);

    // Without scripts it is read all the same.
    browser.reload(false);
    assert_eq!(browser.value("document.querySelector('#filter').checkVisibility()"), false);
    browser.value(&format!("{row}.firstElementChild.focus()"));
    browser.press("Enter", 13, "\r");
    assert_eq!(browser.value(&format!("{row}.querySelector('pre.facts').checkVisibility()")), true);
    assert_eq!(browser.value(&format!("document.getElementById('show-refused').click(), {SHOWN}")), written.refused);
    assert_eq!(browser.misdeeds(), [] as [&serde_json::Value; 0]);
}

#[test]
fn hostile_names_do_nothing_in_a_browser() {
    let (env, agent) = asked_by_strangers();
    let mut browser = Browser::open(&report(&env, agent.audit().path(), &[]));
    let names = browser.value("[...document.querySelectorAll('.row.signed .what b')].map(name => name.textContent)");
    let names = names.as_array().unwrap();
    assert_eq!((names.len(), &names[0], &names[4]), (HOSTILE.len(), &json!(HOSTILE[0]), &json!(HOSTILE[4])));
    browser.value("document.querySelectorAll('.row').forEach(row => row.open = true)");
    browser.wait_for("!document.querySelector('pre.facts') && document.querySelector('div.facts')");
    // Opened, it is as it was: facts of facts, and no more elements than those.
    assert_eq!(browser.value("document.querySelectorAll('img, iframe, object, script:not(body > script)').length"), 0);
    browser.value("document.querySelector('tbody a.find').click()");
    browser.wait_for("document.getElementById('shown').textContent !== ''");
    assert_eq!(browser.misdeeds(), [] as [&serde_json::Value; 0]);
}

/// What tells of no misdeed above would tell of these.
#[test]
fn what_a_bad_page_does_is_seen() {
    let env = Env::new();
    let page = env.path("bad.html");
    let bad =
        "<img src='http://127.0.0.1:9/away'><script>console.log('a word')</script><script>throw 'an error'</script>";
    fs::write(&page, bad).unwrap();
    let browser = Browser::open(&page);
    let methods: Vec<_> = browser.misdeeds().iter().map(|event| event["method"].as_str().unwrap().to_owned()).collect();
    for method in ["Network.requestWillBeSent", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"] {
        assert!(methods.iter().any(|found| found == method), "{methods:?}");
    }
    // And a policy that forbids it is broken aloud.
    fs::write(&page, format!("<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">{bad}")).unwrap();
    let browser = Browser::open(&page);
    assert!(browser.misdeeds().iter().any(|event| event["method"] == "Log.entryAdded"), "{:?}", browser.misdeeds());
}
