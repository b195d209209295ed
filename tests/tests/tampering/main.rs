//! What becomes of a real log when somebody changes it: each class of change is found, or is not, as the table in
//! docs/audit.md says, and a second verifier, in another language and written from that page, finds the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

mod change;
mod files;
mod real_log;
mod table;

use std::cell::Cell;
use std::sync::LazyLock;

use agent::audit::chain::Head;
use proptest::prelude::prop_assert_eq;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tests::{SecondVerifier, first_verdict};

use change::Change;
use files::Files;

/// It is made once for all tests.
static REAL: LazyLock<Files> = LazyLock::new(real_log::made_by_real_programs);

/// How many changes at random are tried where PROPTEST_CASES says nothing.
const FEW: u32 = 300;

/// The second verifier looks at one of so many.
const ONE_IN: u32 = 3;
const ONE_IN_MANY: u32 = 10;

/// What both verifiers say, without an anchor and with it.
fn verdicts(second: &SecondVerifier, files: &Files, anchor: Head) -> [Value; 2] {
    let (_folder, log) = files.write();
    [vec![], vec![anchor]].map(|anchors| {
        let first = first_verdict(&log, &anchors);
        assert_eq!(second.verdict(&log, &anchors), first, "the two verifiers differ");
        first
    })
}

#[test]
fn both_verifiers_find_a_real_log_clean() {
    let second = SecondVerifier::start();
    for verdict in verdicts(&second, &REAL, REAL.head()) {
        assert_eq!((&verdict["code"], &verdict["segments"], &verdict["unchecked"]), (&0.into(), &3.into(), &0.into()));
        assert!(verdict["signatures"].as_u64() >= Some(12) && verdict["hosts_proven"].as_u64() >= Some(9), "{verdict}");
    }
}

#[test]
fn each_class_of_change_is_found_as_the_documentation_says() {
    let second = SecondVerifier::start();
    let table = table::in_documentation();
    let classes = change::classes(&REAL);
    let names: Vec<_> = classes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, table.iter().map(|row| row.class.as_str()).collect::<Vec<_>>(), "the table has these rows");
    for ((class, variants), row) in classes.iter().zip(&table) {
        assert!(!variants.is_empty(), "{class}: nothing was tried");
        for changed in variants {
            assert_ne!(changed, &*REAL, "{class}: this changes nothing");
            let codes = verdicts(&second, changed, REAL.head()).map(|verdict| verdict["code"].clone());
            assert_eq!(codes, [row.alone, row.anchored], "{class}");
        }
    }
}

/// Each is found with the anchor. Without it, each is that is not at the very end, or chained anew.
#[test]
fn changes_at_random_are_found() {
    let second = SecondVerifier::start();
    let few = std::env::var_os("PROPTEST_CASES").is_none();
    let cases = if few { FEW } else { Config::default().cases };
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases, ..Config::default() });
    let (anchor, number) = (REAL.head(), Cell::new(0));
    runner
        .run(&change::at_random(&REAL), |change: Change| {
            let changed = change.to(&REAL);
            number.set(number.get() + 1);
            let (_folder, log) = changed.write();
            let [alone, anchored] = [vec![], vec![anchor]].map(|anchors| first_verdict(&log, &anchors));
            proptest::prop_assert_ne!(&anchored["code"], 0);
            if REAL.differs_before_its_end(&changed) && !change.is_chained_anew() {
                prop_assert_eq!(&alone["code"], 10);
            }
            if number.get() % if few { ONE_IN } else { ONE_IN_MANY } == 0 {
                prop_assert_eq!(second.verdict(&log, &[]), alone);
                prop_assert_eq!(second.verdict(&log, &[anchor]), anchored);
            }
            Ok(())
        })
        .unwrap();
}
