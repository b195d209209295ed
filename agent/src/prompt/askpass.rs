//! SSH_ASKPASS, by the contract OpenSSH's programs follow: the message is the one argument, the answer comes on standard
//! output, another status than 0 refuses (ssh-agent(1), ssh(1) under SSH_ASKPASS, readpass.c).

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::environment::{self, Environment};
use super::{Prompt, PromptError};
use crate::environment::HANDED_OVER;

/// The longest answer, in bytes (readpass.c).
const LONGEST_ANSWER: usize = 1023;

/// Where Debian and OpenSSH look when SSH_ASKPASS is not set.
const DEFAULT_PROGRAM: &str = "/usr/bin/ssh-askpass";

/// An askpass program.
#[derive(Debug, Clone)]
pub(super) struct Askpass {
    program: PathBuf,
    environment: Environment,
}

/// What decides on askpass beside the display.
#[derive(Debug, Default, Clone)]
pub(super) struct Settings {
    /// SSH_ASKPASS.
    program: Option<OsString>,
    /// SSH_ASKPASS_REQUIRE: `force` needs no display, `never` turns askpass off.
    require: Option<OsString>,
}

impl Settings {
    /// Those of this process.
    pub(super) fn of_this_process() -> Self {
        let (program, require) = environment::askpass();
        Self { program, require }
    }
}

impl Askpass {
    /// The program to use in this environment, or why there is none.
    ///
    /// # Errors
    /// A clause for the refusal: "no terminal is attached, and …".
    pub(super) fn find(settings: &Settings, environment: &Environment) -> Result<Self, String> {
        let required = settings.require.as_deref().unwrap_or_default();
        if required == "never" {
            return Err("SSH_ASKPASS_REQUIRE is \"never\"".into());
        }
        if required != "force" && !environment.has_display() {
            return Err("the agent has neither DISPLAY nor WAYLAND_DISPLAY, which askpass needs".into());
        }
        let program = settings.program.clone().map_or_else(|| PathBuf::from(DEFAULT_PROGRAM), PathBuf::from);
        if program.is_file() {
            Ok(Self { program, environment: environment.clone() })
        } else {
            Err(format!("the askpass program {} is not there", program.display()))
        }
    }

    /// Beside the display it has the agent's own environment, as from OpenSSH's programs.
    fn start(&self, message: &str, kind: Option<&str>, stdout: Stdio) -> Result<Child, PromptError> {
        let mut command = Command::new(&self.program);
        command.arg(message).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).kill_on_drop(true);
        for (name, value) in self.environment.values() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        match kind {
            Some(kind) => command.env("SSH_ASKPASS_PROMPT", kind),
            None => command.env_remove("SSH_ASKPASS_PROMPT"),
        };
        for variable in HANDED_OVER {
            command.env_remove(variable);
        }
        let failed = |error| PromptError::NoChannel(format!("{} can't be started: {error}", self.program.display()));
        command.spawn().map_err(failed)
    }

    async fn ask(&self, prompt: &Prompt, kind: Option<&str>) -> Result<Zeroizing<Vec<u8>>, PromptError> {
        let mut child = self.start(&prompt.text(), kind, Stdio::piped())?;
        // One buffer from the start: growing would leave copies of a PIN behind.
        let mut answer = Zeroizing::new(vec![0; LONGEST_ANSWER + 1]);
        let mut length = 0;
        if let Some(mut stdout) = child.stdout.take() {
            while let Some(room) = answer.get_mut(length..).filter(|room| !room.is_empty()) {
                match stdout.read(room).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => length += n,
                }
            }
        }
        if length > LONGEST_ANSWER {
            return Err(PromptError::Refused);
        }
        let status = child.wait().await;
        // One that was killed has not said no.
        if status.as_ref().is_ok_and(|status| status.signal().is_some()) {
            return Err(PromptError::Lost(format!("{} was killed", self.program.display())));
        }
        let accepted = status.is_ok_and(|status| status.success());
        let end = answer.iter().take(length).position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(length);
        answer.truncate(end);
        if accepted { Ok(answer) } else { Err(PromptError::Refused) }
    }
}

impl Askpass {
    /// A yes.
    pub(super) async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        let answer = self.ask(prompt, Some("confirm")).await?;
        let yes = answer.is_empty() || answer.eq_ignore_ascii_case(b"yes");
        if yes { Ok(()) } else { Err(PromptError::Refused) }
    }

    /// A PIN or a passphrase.
    pub(super) async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        let answer = self.ask(prompt, None).await?;
        let text = std::str::from_utf8(&answer).map_err(|_| PromptError::Refused)?;
        if text.is_empty() { Err(PromptError::Refused) } else { Ok(SecretString::from(text)) }
    }

    /// Shows a message until this is dropped, or the program ends.
    pub(super) async fn notify(&self, prompt: &Prompt) -> Result<(), PromptError> {
        let mut notice = Notice(Some(self.start(&prompt.text(), Some("none"), Stdio::null())?));
        if let Some(child) = &mut notice.0 {
            let _ = child.wait().await;
        }
        Ok(())
    }
}

/// A notice's process. OpenSSH ends it with SIGTERM, so that it can take its window down.
struct Notice(Option<Child>);

impl Drop for Notice {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        // Reaped when it has ended; killed when the daemon ends first.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { child.wait().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn askpass_needs_a_display_unless_it_is_forced() {
        let found = |program: &str, require: Option<&str>, display: Option<&str>| {
            let settings = Settings { program: Some(program.into()), require: require.map(Into::into) };
            let environment = Environment { display: display.map(Into::into), ..Environment::default() };
            Askpass::find(&settings, &environment).map(|_| ())
        };
        assert!(found("/bin/sh", None, Some(":0")).is_ok());
        assert!(found("/bin/sh", Some("force"), None).is_ok());
        assert!(found("/bin/sh", Some("prefer"), None).unwrap_err().contains("DISPLAY"));
        assert!(found("/bin/sh", Some("never"), Some(":0")).unwrap_err().contains("never"));
        assert!(found("/not/there", None, Some(":0")).unwrap_err().contains("/not/there"));
    }
}
