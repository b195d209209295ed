//! OpenSSH's own agent, for comparison.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Client, Env, KeyFile, PIN, Person, Program, Running};

/// Debian's ssh-agent with its ssh-sk-helper, on the same tokens.
pub struct Rival {
    env: Env,
    process: Running,
    _person: Option<Person>,
    socket: PathBuf,
}

impl Rival {
    /// Starts it, and waits until it serves. Its person types the PIN at once.
    #[must_use]
    pub fn start(env: &Env) -> Self {
        Self::asking(env, env.person_who_types(PIN))
    }

    /// Starts it with another person, and waits until it serves.
    #[must_use]
    pub fn asking(env: &Env, person: Person) -> Self {
        Self::with(env, Some(person))
    }

    /// Starts it with nobody to ask, and waits until it serves.
    #[must_use]
    pub fn alone(env: &Env) -> Self {
        Self::with(env, None)
    }

    /// It is a copy: the installed one has a setgid bit, for which the preload library is ignored.
    fn with(env: &Env, person: Option<Person>) -> Self {
        let program = env.path("ssh-agent");
        if !program.exists() {
            // By a process of its own: a file that this one has open for writing can't be started by any other thread's child.
            env.program("cp").arg("/usr/bin/ssh-agent").arg(&program).run().success();
        }
        let socket = env.path("rival.sock");
        // What one that was killed has left behind.
        let _ = fs::remove_file(&socket);
        let mut command = env.command(Path::new(&program));
        command.envs(env.bus().environment()).args(["-D", "-a"]).arg(&socket);
        if let Some(person) = &person {
            person.answer_for(&mut command);
        }
        let process = Program::new(command).start();
        process.stdout().wait_for("SSH_AUTH_SOCK=");
        Self { env: env.clone(), process, _person: person, socket }
    }

    /// `ssh-add FILE`.
    pub fn ssh_add(&self, key: &KeyFile) {
        self.program("ssh-add").arg("-q").arg(key.path()).run().success();
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A program that knows it.
    pub fn program(&self, program: impl AsRef<Path>) -> Program {
        self.env.program(program).env("SSH_AUTH_SOCK", &self.socket)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// A client that speaks the protocol itself.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket)
    }
}
