//! Pinentry, GnuPG's dialog for secrets, in all its flavours: with windows, with curses, or in plain lines on a terminal.
//!
//! No pinentry is offered an external cache for what was typed: the option that allows one is never given, and no key is
//! named by which it could be found.

mod process;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;

use super::assuan::{Answer, AssuanError, with_text};
use super::environment::Environment;
use super::tty::Tty;
use super::{Prompt, PromptError};
use process::Process;

/// Where pinentry is when the configuration does not say so. PATH is not looked at: whoever can change it would be told
/// PINs.
const KNOWN_PLACES: [&str; 2] = ["/usr/bin/pinentry", "/usr/local/bin/pinentry"];

/// The longest text that is shown beside the field to type in.
const LONGEST_LABEL: usize = 24;

/// A pinentry, and where it would appear.
#[derive(Clone)]
pub(super) struct Pinentry {
    program: PathBuf,
    environment: Environment,
    /// How long it asks, where the agent is no longer there to end it.
    limit: Duration,
    /// One at a time: the next one may not begin before the last one has given its terminal back.
    turn: Arc<Mutex<()>>,
}

/// The program, if there is one.
///
/// # Errors
/// A clause that says why there is none.
pub(super) fn find(configured: Option<&Path>) -> Result<PathBuf, String> {
    match configured {
        Some(program) => {
            let usable = crate::programs::nobody_else_can_change(program);
            usable.map_err(|error| format!("the pinentry can't be used: {error:#}"))
        }
        None => KNOWN_PLACES
            .into_iter()
            .find_map(|place| crate::programs::nobody_else_can_change(Path::new(place)).ok())
            .ok_or_else(|| "no pinentry is installed".into()),
    }
}

impl Pinentry {
    /// A pinentry that could be seen in this environment.
    ///
    /// # Errors
    /// A clause that says why it could not.
    pub(super) fn new(
        program: &Path,
        environment: &Environment,
        limit: Duration,
        turn: &Arc<Mutex<()>>,
    ) -> Result<Self, String> {
        let mut environment = environment.clone();
        let tty = environment.tty.as_deref().map(Tty::open);
        let on_display = environment.has_display() && !needs_tty(program);
        match tty {
            Some(Ok(_)) => {}
            _ if on_display => environment.tty = None,
            Some(Err(trouble)) => return Err(format!("pinentry's terminal can't be used: {trouble}")),
            None if environment.has_display() => return Err("pinentry has no terminal, which this one needs".into()),
            None => return Err("pinentry has neither a display nor a terminal to appear on".into()),
        }
        Ok(Self { program: program.to_owned(), environment, limit, turn: Arc::clone(turn) })
    }

    /// A PIN or a passphrase.
    pub(super) async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        let mut dialog = self.open(prompt, &buttons("_OK", "_Cancel")).await?;
        let answer = dialog.ask("GETPIN").await?;
        if answer.from_cache {
            return Err(self.lost("it took the answer from a cache, and asked nobody"));
        }
        let text = std::str::from_utf8(&answer.data).map_err(|_| PromptError::Refused)?;
        if text.is_empty() { Err(PromptError::Refused) } else { Ok(SecretString::from(text)) }
    }

    /// A yes.
    pub(super) async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        let mut dialog = self.open(prompt, &buttons("_Allow", "_Refuse")).await?;
        dialog.ask("CONFIRM").await.map(|_| ())
    }

    /// Shows a message until this is dropped, or the person takes it down. Not on a terminal, where a program may be at work
    /// that does not expect it.
    pub(super) async fn notify(&self, prompt: &Prompt) -> Result<(), PromptError> {
        if !self.environment.has_display() || needs_tty(&self.program) {
            return Err(self.unusable("it would take over a terminal to say so"));
        }
        let without_tty = Self { environment: Environment { tty: None, ..self.environment.clone() }, ..self.clone() };
        let mut dialog = without_tty.open(prompt, &buttons("_OK", "_OK")).await?;
        dialog.ask("MESSAGE").await.map(|_| ())
    }

    /// Starts it, and tells it everything but that it shall ask now.
    async fn open(&self, prompt: &Prompt, buttons: &[String]) -> Result<Dialog<'_>, PromptError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let tty =
            self.environment.tty.as_deref().map(Tty::open).transpose().map_err(|trouble| self.unusable(trouble))?;
        let mut process = Process::start(&self.program, &self.environment, tty, turn)
            .map_err(|error| self.unusable(format_args!("it can't be started: {error}")))?;
        let said = |result: Result<Answer, AssuanError>| match result {
            Ok(Answer { result: Ok(()), data, .. }) => Ok(data),
            Ok(Answer { result: Err((_, text)), .. }) => Err(self.unusable(text)),
            Err(error) => Err(self.unusable(error)),
        };
        said(process.assuan.greeting().await)?;
        // One that does not know an option is of no use without it only where it then can't ask, and says so.
        for option in self.options() {
            process.assuan.command(&with_text("OPTION", &option)).await.map_err(|error| self.unusable(error))?;
        }
        let flavor = said(process.assuan.command("GETINFO flavor").await).unwrap_or_default();
        process.full_screen = flavor.windows(6).any(|word| word == b"curses");
        for command in texts(prompt).iter().chain(buttons) {
            said(process.assuan.command(command).await)?;
        }
        let _ = process.assuan.command(&format!("SETTIMEOUT {}", self.limit.as_secs().max(1))).await;
        if let Some(tty) = &process.tty {
            tty.forget_what_was_typed();
        }
        Ok(Dialog { pinentry: self, process })
    }

    fn options(&self) -> Vec<String> {
        let Environment { display, term, tty, .. } = &self.environment;
        let locale = Environment::character_type();
        let mut options = vec!["no-grab".into(), format!("lc-ctype={locale}"), format!("lc-messages={locale}")];
        options.extend(display.iter().map(|display| format!("display={display}")));
        if let Some(tty) = tty {
            options.push(format!("ttyname={}", tty.display()));
            options.extend(term.iter().map(|term| format!("ttytype={term}")));
        }
        options
    }

    fn unusable(&self, reason: impl fmt::Display) -> PromptError {
        PromptError::NoChannel(format!("{}: {reason}", self.name()))
    }

    fn lost(&self, reason: impl fmt::Display) -> PromptError {
        PromptError::Lost(format!("{}: {reason}", self.name()))
    }

    fn name(&self) -> String {
        super::visible(&self.program.display().to_string())
    }

    /// Where it appears, for a person.
    pub(super) fn describe(&self) -> String {
        format!("{} ({})", self.name(), self.environment.describe())
    }
}

impl fmt::Debug for Pinentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// Whether it is of the flavours that have no windows. The name may be an alternative's (update-alternatives(1)).
fn needs_tty(program: &Path) -> bool {
    let program = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["-curses", "-tty"].iter().any(|flavour| name.ends_with(flavour))
}

/// Buttons with the letter by which they are pressed.
fn buttons(yes: &str, no: &str) -> [String; 2] {
    [with_text("SETOK", yes), with_text("SETCANCEL", no)]
}

/// What it is to show. What went wrong before is shown as an error, and a question that is short beside the field.
fn texts(prompt: &Prompt) -> Vec<String> {
    let question = prompt.question.trim_end();
    let (before, asked) = question.rsplit_once(". ").map_or(("", question), |(before, asked)| (before, asked));
    let (label, asked) = match asked {
        short if short.chars().count() <= LONGEST_LABEL => (short, ""),
        long if long.starts_with("Passphrase") => ("Passphrase:", long),
        long if long.contains("PIN") => ("PIN:", long),
        long => ("", long),
    };
    let mut lines = prompt.lines.clone();
    lines.extend((!asked.is_empty()).then(|| asked.to_owned()));
    let mut texts = vec![
        with_text("SETTITLE", "fido-ssh-agent"),
        with_text("SETDESC", &lines.join("\n")),
        with_text("SETPROMPT", label),
    ];
    texts.extend((!before.is_empty()).then(|| with_text("SETERROR", &format!("{before}."))));
    texts
}

/// A pinentry that is about to ask.
struct Dialog<'a> {
    pinentry: &'a Pinentry,
    process: Process,
}

impl Dialog<'_> {
    async fn ask(&mut self, command: &str) -> Result<Answer, PromptError> {
        let answer = self.process.assuan.command(command).await.map_err(|error| self.pinentry.lost(error))?;
        self.process.ends_by_itself = true;
        match &answer.result {
            Ok(()) => Ok(answer),
            Err((number, text)) => Err(match libgpg_error(*number) {
                Meaning::No => PromptError::Refused,
                Meaning::TimeUp => PromptError::TimeUp,
                Meaning::NotShown => self.pinentry.unusable(text),
                Meaning::Other => self.pinentry.lost(text),
            }),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    No,
    TimeUp,
    NotShown,
    Other,
}

/// What an error number means (libgpg-error's gpg-error.h: the source above the lowest 16 bits, and in those the code).
fn libgpg_error(number: u32) -> Meaning {
    const TIMEOUT: u32 = 62;
    const NO_PIN_ENTRY: u32 = 85;
    const CANCELED: u32 = 99;
    const NOT_CONFIRMED: u32 = 114;
    const FULLY_CANCELED: u32 = 198;
    const WINDOW_TOO_SMALL: u32 = 301;
    /// Set for errors of the system. All of pinentry's are about its terminal or display, which it opens before it asks.
    const SYSTEM_ERROR: u32 = 1 << 15;
    match number & 0xffff {
        CANCELED | FULLY_CANCELED | NOT_CONFIRMED => Meaning::No,
        TIMEOUT => Meaning::TimeUp,
        NO_PIN_ENTRY | WINDOW_TOO_SMALL => Meaning::NotShown,
        code if code & SYSTEM_ERROR != 0 => Meaning::NotShown,
        _ => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(question: &str) -> Prompt {
        Prompt { lines: vec!["Log in as me".into(), "  on device".into()], question: question.into() }
    }

    #[test]
    fn a_question_is_put_where_it_fits() {
        let title = "SETTITLE fido-ssh-agent";
        let about = "SETDESC Log in as me%0A  on device";
        assert_eq!(texts(&prompt("PIN (8 tries left): ")), [title, about, "SETPROMPT PIN (8 tries left):"]);
        assert_eq!(
            texts(&prompt("The PIN was wrong. PIN (7 tries left): ")),
            [title, about, "SETPROMPT PIN (7 tries left):", "SETERROR The PIN was wrong."]
        );
        let long = "Passphrase for /home/me/.ssh/id_ed25519_sk:";
        let asked = format!("{about}%0A{long}");
        assert_eq!(texts(&prompt(long)), [title, &asked, "SETPROMPT Passphrase:"]);
    }

    #[test]
    fn errors_as_pinentry_1_2_1_gives_them() {
        for (number, meaning) in [
            (83_886_179, Meaning::No),
            (83_886_278, Meaning::No),
            (83_886_194, Meaning::No),
            (83_886_142, Meaning::TimeUp),
            (83_918_950, Meaning::NotShown),
            (83_918_929, Meaning::NotShown),
            (83_886_254, Meaning::Other),
        ] {
            assert_eq!(libgpg_error(number), meaning, "{number}");
        }
    }

    #[test]
    fn it_needs_a_place_to_appear() {
        let turn = Arc::default();
        let new = |program: &str, environment: &Environment| {
            Pinentry::new(Path::new(program), environment, Duration::from_secs(1), &turn).map(|_| ())
        };
        let display = Environment { display: Some(":0".into()), ..Environment::default() };
        let gone = Environment { tty: Some("/dev/pts/999999".into()), ..Environment::default() };
        assert!(new("/x/pinentry-gnome3", &display).is_ok());
        assert!(new("/x/pinentry-gnome3", &Environment { tty: gone.tty.clone(), ..display.clone() }).is_ok());
        assert!(new("/x/pinentry-curses", &display).unwrap_err().contains("has no terminal"));
        assert!(new("/x/pinentry", &Environment::default()).unwrap_err().contains("neither a display nor"));
        assert!(new("/x/pinentry", &gone).unwrap_err().contains("/dev/pts/999999 can't be opened"));
    }
}
