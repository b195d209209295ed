//! Manages an SSH agent for FIDO2 tokens.
//!
//! Two sockets are talked to. What any agent can do (list keys, remove them) goes over the standard one, and so works
//! with a forwarded agent too. Everything else is the control socket's, which is never forwarded.

mod agent_socket;
mod attended;
mod commands;
mod comparison;
mod control;
mod conversation;
mod directory;
mod key_file;
mod known_keys;
mod login;
mod named_key;
mod new_key;
mod output;
mod places;
mod problem;
mod progress;
mod proof;
mod public_key;
mod publication;
mod safe;
mod signals;
mod terminal;

use std::process::ExitCode;

use agent::hardening;
use clap::{CommandFactory, Parser, Subcommand};

use commands::{
    add, attach, audit, completions, config, doctor, export, generate, list, manual, publish, published, refresh,
    rehearse, remove, ssh_config, status, tokens, unlock, why,
};
use problem::{Problem, USAGE};
use terminal::Terminal;

/// Manages an SSH agent for FIDO2 tokens
#[derive(Debug, Parser)]
#[command(name = "agent-cli", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Read answers from standard input, a line each, and not from the terminal
    #[arg(short = 'S', long = "stdin", global = true)]
    stdin: bool,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed or refused, 2 the agent can't be reached, 64 wrong usage";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the keys of the agent in SSH_AUTH_SOCK, as `ssh-add -l` does; fails when there are none
    List(list::Options),
    /// Adds key files, by default those in ~/.ssh with OpenSSH's names, or the resident keys of a token
    Add(add::Options),
    /// Removes keys from the agent in SSH_AUTH_SOCK for good
    Remove(remove::Options),
    /// Makes a key on a token, writes its files, and adds it
    GenKeys(generate::Options),
    /// Registers a public key where hosts learn of it: in your account, by Microsoft Graph, or in a file
    Publish(publish::Options),
    /// Shows whether what is published, your key files and the agent's keys agree; fails when they do not
    Published(published::Options),
    /// Makes a new key in the place of an old one, which is retired only once the new one is published and tried
    Refresh(refresh::Options),
    /// Prints public keys, with their backups, in the form that hosts take them in
    Export(export::Options),
    /// Shows the tokens that are plugged in, and manages them
    Tokens(tokens::Options),
    /// Makes this terminal the place where prompts appear
    Attach(attach::Options),
    /// Reads the record of all uses of keys, and verifies it
    Audit(audit::Options),
    /// Shows how the agent is, and whether it could ask a person
    Status(status::Options),
    /// Looks whether a login would succeed now, and says what to do where it would not
    Doctor(doctor::Options),
    /// Logs in as in an emergency and runs nothing there, and says what each host on the way did, and what failed and why
    Rehearse(rehearse::Options),
    /// Prints lines for ~/.ssh/config: this agent for all hosts, and forwarded to your jump hosts only
    SshConfig(ssh_config::Options),
    /// Checks and shows the settings
    Config(config::Options),
    /// Shows what was refused last, to whom and why, and what to do about it
    Why(why::Options),
    /// Unlocks the agent after a suspend or screen lock (`lock_on`), where the session does not say that you are back
    Unlock,
    /// Prints what a shell has to read so that it completes this program's command line
    Completions(completions::Options),
    /// Writes the manual pages into a folder, as packages have them
    #[command(hide = true)]
    Manual(manual::Options),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // clap would exit with 2, which is taken: it says that the agent can't be reached.
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(problem) => {
            problem.show();
            problem.end()
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Problem> {
    let terminal = || {
        // PINs and passphrases are typed there, so nothing of this process may end up in a core dump.
        hardening::keep_memory_private()
            .map_err(|error| Problem::failed(format!("this program's memory can't be kept private: {error}")))?;
        Terminal::open(arguments.stdin)
    };
    match &arguments.command {
        Command::List(options) => list::run(options),
        Command::Add(options) => add::run(options, &mut terminal()?),
        Command::Remove(options) => remove::run(options),
        Command::GenKeys(options) => generate::run(options, &mut terminal()?),
        Command::Publish(options) => publish::run(options, &mut terminal()?),
        Command::Published(options) => published::run(options, &mut terminal()?),
        Command::Refresh(options) => refresh::run(options, &mut terminal()?),
        Command::Export(options) => export::run(options),
        Command::Tokens(options) => tokens::run(options, terminal),
        Command::Attach(options) => attach::run(options, &mut terminal()?),
        Command::Audit(options) => audit::run(options),
        Command::Status(options) => status::run(options),
        Command::Doctor(options) => doctor::run(options, terminal),
        Command::Rehearse(options) => rehearse::run(options, &mut terminal()?),
        Command::SshConfig(options) => ssh_config::run(options),
        Command::Config(options) => config::run(options),
        Command::Why(options) => why::run(options),
        Command::Completions(options) => completions::run(options, Arguments::command()),
        Command::Manual(options) => manual::run(options, Arguments::command()),
        Command::Unlock => unlock::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    /// These do something, or print what another program reads.
    const WITHOUT_JSON: &[&str] = &[
        "add",
        "remove",
        "tokens name",
        "tokens forget",
        "tokens set-pin",
        "tokens change-pin",
        "tokens fingerprints add",
        "tokens fingerprints rename",
        "tokens fingerprints remove",
        "tokens credentials delete",
        "audit report",
        "audit export",
        "attach",
        "unlock",
        "ssh-config",
        "completions",
        "manual",
    ];

    /// docs/json.md has their members.
    #[test]
    fn what_tells_something_has_json() {
        fn without(command: &clap::Command, name: &str, found: &mut Vec<String>) {
            let has_json = command.get_arguments().any(|argument| argument.get_id() == "json");
            if !has_json && (!command.has_subcommands() || !command.is_subcommand_required_set()) {
                found.push(name.to_owned());
            }
            for command in command.get_subcommands() {
                without(command, format!("{name} {}", command.get_name()).trim(), found);
            }
        }
        let mut found = Vec::new();
        without(&Arguments::command(), "", &mut found);
        found.sort();
        let mut expected = WITHOUT_JSON.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "a command that tells something has --json, and a section in docs/json.md");
    }
}
