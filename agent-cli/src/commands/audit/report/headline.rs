//! What was asked, or done, in one line.

use agent::audit::history::{Entry, What};
use agent::audit::record::{Act, Meaning};

use super::super::acts::{Told, told};
use super::super::names::{Host, Names};
use super::super::reading;

/// What was asked, in the words of the closed row.
#[derive(Debug)]
pub(super) struct Headline {
    pub(super) verb: &'static str,
    /// As whom, for what, with what.
    pub(super) object: String,
    pub(super) at: Option<Host>,
    pub(super) through: Vec<Host>,
}

impl Headline {
    /// Of something that happened.
    pub(super) fn of(entry: &Entry, names: &Names) -> Self {
        if let What::Act { act } = &entry.what {
            let (name, about) = match act {
                Act::Refused { request, .. } => ("asked to", request.clone()),
                _ => ("", in_a_line(told(act))),
            };
            return Self { verb: name, object: cut(about), at: None, through: Vec::new() };
        }
        let Some(subject) = entry.subject() else {
            return Self { verb: "", object: "a request that is not on record".into(), at: None, through: Vec::new() };
        };
        let (verb, object) = match &subject.meaning {
            Meaning::Login { user, .. } => ("log in as", user.clone()),
            Meaning::Signature { namespace } => ("sign for", namespace.clone()),
            Meaning::Certificate { certificate, .. } => ("issue", certificate.clone()),
            Meaning::Opaque => ("sign", "unknown data".into()),
        };
        Self {
            verb,
            object,
            at: reading::destination(subject).map(|host| names.host(host)),
            through: reading::through(subject).map(|host| names.host(host)).collect(),
        }
    }

    /// In a line.
    pub(super) fn in_words(&self) -> String {
        let at = self.at.as_ref().map_or_else(String::new, |at| format!(" at {}", at.in_short()));
        let through: String = self.through.iter().map(|hop| format!(" through {}", hop.in_short())).collect();
        format!("{} {}{at}{through}", self.verb, self.object)
    }
}

fn in_a_line(Told { name, about }: Told) -> String {
    if about.is_empty() { name } else { format!("{name}: {about}") }
}

/// A closed row has one line.
fn cut(text: String) -> String {
    const LONGEST: usize = 160;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
