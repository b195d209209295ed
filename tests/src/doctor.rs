//! `agent-cli doctor`, by what it says in JSON.

use serde_json::Value;

use crate::Program;

/// The command, with `--json`, before it runs.
pub struct Doctor(pub Program);

impl Doctor {
    /// With more arguments.
    #[must_use]
    pub fn args<'a>(self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self(self.0.args(arguments))
    }

    /// Has it look, which has to end with this code.
    #[must_use]
    pub fn examine(self, code: i32) -> Examination {
        let examined = self.0.run().code(code);
        let answer: Value = serde_json::from_str(&examined.stdout).expect("it prints JSON");
        assert_eq!(answer["ready"], code == 0, "{answer:#}");
        Examination(answer["findings"].as_array().expect("findings are a list").clone())
    }

    /// It is ready, with nothing that is bad.
    pub fn finds_all_ready(self) {
        assert_eq!(self.examine(0).of("bad").len(), 0);
    }

    /// This check alone is bad; returned is what it saw, and what to do.
    pub fn finds_bad(self, check: &str) -> (String, String) {
        self.examine(1).only("bad", check)
    }

    /// It is ready, and yet this check, beside those of a good set-up, has something to say.
    pub fn finds_worth_a_look(self, check: &str) -> (String, String) {
        let mut examination = self.examine(0);
        // In most scenarios nothing keeps heads elsewhere, and there is one token.
        let usual = ["anchor", "backup"];
        examination
            .0
            .retain(|finding| finding["check"] == check || !usual.iter().any(|usual| finding["check"] == *usual));
        examination.only("warning", check)
    }
}

/// What it found.
pub struct Examination(pub Vec<Value>);

impl Examination {
    /// The findings with this verdict.
    #[must_use]
    pub fn of(&self, verdict: &str) -> Vec<&Value> {
        self.0.iter().filter(|finding| finding["verdict"] == verdict).collect()
    }

    /// This check alone has this verdict; returned is what it saw, and what to do.
    #[must_use]
    pub fn only(&self, verdict: &str, check: &str) -> (String, String) {
        let found = self.of(verdict);
        assert!(found.len() == 1 && found[0]["check"] == check, "{check} alone is {verdict}: {:#?}", self.0);
        let text = |name: &str| found[0][name].as_str().expect("it is said in words").to_owned();
        (text("reason"), text("next"))
    }
}
