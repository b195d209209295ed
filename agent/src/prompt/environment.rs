//! What a program needs to know to reach the person: the display, the session bus, the terminal. It is that of the program
//! that started the agent, until `agent-cli attach --env` hands over another (as gpg-agent's UPDATESTARTUPTTY does).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tty::Tty;

/// The longest of these values, in bytes.
const LONGEST: usize = 4096;

/// The variables that name a display or a terminal, in the order of [`Environment`]'s fields.
const NAMES: [&str; 5] = ["DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "TERM"];

/// What else a pinentry is given: where it finds its settings, in which language it speaks, what it looks like. Whatever
/// else is in the agent's environment is nothing to it.
const ORDINARY: [&str; 16] = [
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_CURRENT_DESKTOP",
    "XDG_SESSION_TYPE",
    "GTK_THEME",
    "QT_QPA_PLATFORMTHEME",
    "PINENTRY_USER_DATA",
];

/// Where Debian's programs are.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where a person can be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// DISPLAY.
    pub display: Option<String>,
    /// WAYLAND_DISPLAY.
    pub wayland_display: Option<String>,
    /// XAUTHORITY.
    pub xauthority: Option<String>,
    /// DBUS_SESSION_BUS_ADDRESS.
    pub dbus_session_bus_address: Option<String>,
    /// TERM.
    pub term: Option<String>,
    /// The terminal's device. In the environment it is GPG_TTY, by which people say where a pinentry may appear.
    pub tty: Option<PathBuf>,
}

#[allow(clippy::disallowed_methods, reason = "prompts may read the environment: see the architecture's rule 4")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl Environment {
    /// That of this process. A value that could not be handed over is none.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok()).filter(|value| good(value));
        let [display, wayland_display, xauthority, dbus_session_bus_address, term] = NAMES.map(text);
        let tty = text("GPG_TTY").map(PathBuf::from);
        Self { display, wayland_display, xauthority, dbus_session_bus_address, term, tty }
    }

    /// The variables, and those that have no value.
    pub(super) fn values(&self) -> [(&'static str, Option<&str>); 5] {
        let Self { display, wayland_display, xauthority, dbus_session_bus_address, term, tty: _ } = self;
        let values = [display, wayland_display, xauthority, dbus_session_bus_address, term];
        std::array::from_fn(|n| (NAMES[n], values[n].as_deref()))
    }

    /// Whether windows can be shown.
    #[must_use]
    pub fn has_display(&self) -> bool {
        self.display.is_some() || self.wayland_display.is_some()
    }

    /// Where prompts would appear, in words, if that can be: these values come from another program.
    ///
    /// # Errors
    /// Why they can't.
    pub fn usable(&self) -> Result<String, String> {
        let tty = self.tty.as_deref().map(|tty| ("tty", tty.to_str().unwrap_or("\n")));
        let mut given = self.values().into_iter().filter_map(|(name, value)| Some((name, value?))).chain(tty);
        if let Some((name, _)) = given.find(|(_, value)| value.is_empty() || !good(value)) {
            return Err(format!("{name} is empty, too long, or has control characters"));
        }
        match &self.tty {
            Some(tty) => drop(Tty::open(tty)?),
            None if self.has_display() => {}
            None => return Err("neither a display nor a terminal was handed over".into()),
        }
        Ok(self.describe())
    }

    /// All that a program is given which starts with no environment.
    pub(super) fn whole(&self) -> impl Iterator<Item = (&'static str, OsString)> + '_ {
        let ordinary = ORDINARY.into_iter().filter_map(|name| Some((name, variable(name)?)));
        let ours = self.values().into_iter().filter_map(|(name, value)| Some((name, value?.into())));
        [("PATH", PATH.into())].into_iter().chain(ordinary).chain(ours)
    }

    /// The locale by which a terminal's characters are encoded (locale(7)).
    pub(super) fn character_type() -> String {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        set.as_deref().and_then(OsStr::to_str).filter(|value| good(value)).unwrap_or("C.UTF-8").to_owned()
    }

    /// Where that is, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let shown = |what, value: &str| format!("{what} {}", super::visible(value));
        let display = self.wayland_display.as_deref().or(self.display.as_deref()).map(|value| shown("display", value));
        let tty = self.tty.as_deref().map(|tty| shown("terminal", &tty.display().to_string()));
        let parts: Vec<_> = display.into_iter().chain(tty).collect();
        if parts.is_empty() { "neither a display nor a terminal".into() } else { parts.join(", ") }
    }
}

/// The variables that decide on askpass (ssh(1)): the program, and whether it is used.
#[must_use]
pub(super) fn askpass() -> (Option<OsString>, Option<OsString>) {
    (variable("SSH_ASKPASS"), variable("SSH_ASKPASS_REQUIRE"))
}

fn good(value: &str) -> bool {
    value.len() <= LONGEST && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_checked() {
        let with = |display: &str| Environment { display: Some(display.into()), ..Environment::default() };
        assert_eq!(with(":0").usable(), Ok("display :0".into()));
        for bad in ["", ":0\nOPTION", "\u{1b}[2J", &"x".repeat(LONGEST + 1)] {
            assert!(with(bad).usable().is_err_and(|trouble| trouble.starts_with("DISPLAY ")), "{bad:?}");
        }
        let tty = |tty: &str| Environment { tty: Some(tty.into()), ..with(":0") }.usable().unwrap_err();
        assert!(tty("/dev/pts/1\r").contains("control characters"));
        assert!(tty("/dev/null").contains("is no terminal"));
        assert!(Environment::default().usable().is_err());
    }

    #[test]
    fn a_program_that_is_told_all_is_told_no_more() {
        let environment = Environment { wayland_display: Some("wayland-1".into()), ..Environment::default() };
        let whole: Vec<_> = environment.whole().collect();
        assert!(whole.contains(&("WAYLAND_DISPLAY", "wayland-1".into())));
        let known = |name| name == "PATH" || ORDINARY.contains(&name) || NAMES.contains(&name);
        assert!(whole.iter().all(|(name, _)| known(name)) && !whole.iter().any(|(name, _)| *name == "DISPLAY"));
    }
}
