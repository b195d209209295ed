//! SSH_ASKPASS, by the contract OpenSSH's programs follow: the message is the one argument, the answer comes on standard
//! output, another status than 0 refuses (ssh-agent(1), ssh(1) under SSH_ASKPASS, readpass.c).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::{PresenceNotice, Prompt, PromptError, Prompter};
use crate::config::HANDED_OVER;

/// The longest answer, in bytes (readpass.c).
const LONGEST_ANSWER: usize = 1023;

/// Where Debian and OpenSSH look when SSH_ASKPASS is not set.
const DEFAULT_PROGRAM: &str = "/usr/bin/ssh-askpass";

/// An askpass program.
#[derive(Debug, Clone)]
pub struct Askpass {
    program: PathBuf,
}

/// The environment variables that decide on askpass.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    /// SSH_ASKPASS.
    pub program: Option<OsString>,
    /// SSH_ASKPASS_REQUIRE: `force` needs no display, `never` turns askpass off.
    pub require: Option<OsString>,
    /// DISPLAY or WAYLAND_DISPLAY.
    pub display: Option<OsString>,
}

impl Environment {
    /// That of this process.
    #[allow(clippy::disallowed_methods, reason = "prompts may read the environment: see the architecture's rule 5")]
    #[must_use]
    pub fn of_this_process() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            program: var("SSH_ASKPASS"),
            require: var("SSH_ASKPASS_REQUIRE"),
            display: var("DISPLAY").or_else(|| var("WAYLAND_DISPLAY")),
        }
    }
}

impl Askpass {
    /// The program to use in this environment, or why there is none.
    ///
    /// # Errors
    /// A clause for the refusal: "no terminal is attached, and …".
    pub fn find(environment: &Environment) -> Result<Self, String> {
        let required = environment.require.as_deref().unwrap_or_default();
        if required == "never" {
            return Err("SSH_ASKPASS_REQUIRE is \"never\"".into());
        }
        if required != "force" && environment.display.is_none() {
            return Err("the agent has neither DISPLAY nor WAYLAND_DISPLAY, which askpass needs".into());
        }
        let program = environment.program.clone().map_or_else(|| PathBuf::from(DEFAULT_PROGRAM), PathBuf::from);
        if program.is_file() {
            Ok(Self { program })
        } else {
            Err(format!("the askpass program {} is not there", program.display()))
        }
    }

    fn start(&self, message: &str, kind: Option<&str>, stdout: Stdio) -> Result<Child, PromptError> {
        let mut command = Command::new(&self.program);
        command.arg(message).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).kill_on_drop(true);
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
        let accepted = child.wait().await.is_ok_and(|status| status.success());
        let end = answer.iter().take(length).position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(length);
        answer.truncate(end);
        if accepted { Ok(answer) } else { Err(PromptError::Refused) }
    }
}

#[async_trait]
impl Prompter for Askpass {
    async fn confirm(&self, prompt: &Prompt) -> Result<(), PromptError> {
        let answer = self.ask(prompt, Some("confirm")).await?;
        let yes = answer.is_empty() || answer.eq_ignore_ascii_case(b"yes");
        if yes { Ok(()) } else { Err(PromptError::Refused) }
    }

    async fn request_pin(&self, prompt: &Prompt) -> Result<SecretString, PromptError> {
        let answer = self.ask(prompt, None).await?;
        let text = std::str::from_utf8(&answer).map_err(|_| PromptError::Refused)?;
        if text.is_empty() { Err(PromptError::Refused) } else { Ok(SecretString::from(text)) }
    }

    fn notify_presence(&self, prompt: &Prompt) -> PresenceNotice {
        match self.start(&prompt.text(), Some("none"), Stdio::null()) {
            Ok(child) => PresenceNotice::new(Notice(Some(child))),
            Err(_) => PresenceNotice::none(),
        }
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

    fn environment(program: &str, require: Option<&str>, display: Option<&str>) -> Environment {
        Environment {
            program: Some(program.into()),
            require: require.map(Into::into),
            display: display.map(Into::into),
        }
    }

    #[test]
    fn askpass_needs_a_display_unless_it_is_forced() {
        let found = |e: Environment| Askpass::find(&e).map(|_| ());
        assert!(found(environment("/bin/sh", None, Some(":0"))).is_ok());
        assert!(found(environment("/bin/sh", Some("force"), None)).is_ok());
        assert!(found(environment("/bin/sh", Some("prefer"), None)).unwrap_err().contains("DISPLAY"));
        assert!(found(environment("/bin/sh", Some("never"), Some(":0"))).unwrap_err().contains("never"));
        assert!(found(environment("/not/there", None, Some(":0"))).unwrap_err().contains("/not/there"));
    }
}
