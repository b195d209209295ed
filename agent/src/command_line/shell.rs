//! What is printed for a shell to evaluate.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use agent::arguments::Arguments;
use agent::environment;

/// The shell that evaluates it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shell {
    Bourne,
    C,
}

impl Shell {
    /// The one that is asked for, or the user's.
    pub(crate) fn of(arguments: &Arguments) -> Self {
        let c_shell = arguments.c_shell || !arguments.bourne_shell && environment::shell_is_csh();
        if c_shell { Self::C } else { Self::Bourne }
    }

    /// Prints a line that sets a variable.
    pub(crate) fn set(self, name: &str, value: impl AsRef<OsStr>) -> std::io::Result<()> {
        let value = self.quoted(value.as_ref());
        let (before, after) = match self {
            Self::Bourne => (format!("{name}="), format!("; export {name};\n")),
            Self::C => (format!("setenv {name} "), ";\n".into()),
        };
        // A path is bytes, which no character set restricts.
        std::io::stdout().write_all(&[before.as_bytes(), value.as_bytes(), after.as_bytes()].concat())
    }

    /// Prints a line that unsets a variable.
    pub(crate) fn unset(self, name: &str) {
        match self {
            Self::Bourne => println!("unset {name};"),
            Self::C => println!("unsetenv {name};"),
        }
    }

    /// A word that means itself. Plain ones are left as they are, as scripts that take the line apart expect it.
    fn quoted(self, word: &OsStr) -> OsString {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(byte);
        if word.as_bytes().iter().all(plain) {
            return word.to_owned();
        }
        let mut quoted = vec![b'\''];
        for byte in word.as_bytes() {
            match (byte, self) {
                (b'\'', _) => quoted.extend(b"'\\''"),
                // A C shell looks up its history even there, and ends a word at the end of the line.
                (b'!' | b'\n', Self::C) => quoted.extend([b'\\', *byte]),
                _ => quoted.push(*byte),
            }
        }
        quoted.push(b'\'');
        OsString::from_vec(quoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_themselves() {
        for (word, bourne, c_shell) in [
            ("/run/user/1000/agent.sock", "/run/user/1000/agent.sock", "/run/user/1000/agent.sock"),
            ("/a b;$(c)", "'/a b;$(c)'", "'/a b;$(c)'"),
            ("it's!", r"'it'\''s!'", r"'it'\''s\!'"),
        ] {
            assert_eq!(Shell::Bourne.quoted(word.as_ref()), bourne);
            assert_eq!(Shell::C.quoted(word.as_ref()), c_shell);
        }
    }
}
