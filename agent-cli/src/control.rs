//! The connection to the agent's control socket.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use agent::control::{Event, MAX_LINE, Request, VERSION};
use agent::environment::socket_in_environment;
use agent::paths::Paths;
use zeroize::Zeroizing;

use crate::agent_socket::{AgentSocket, START};
use crate::places::find;
use crate::problem::Problem;

/// A connection on which the agent has said hello.
#[derive(Debug)]
pub(crate) struct Control {
    stream: UnixStream,
    /// What was received and is not read yet.
    received: Vec<u8>,
}

impl Control {
    /// Connects to the agent that SSH_AUTH_SOCK names. Where that is another program, or an agent far away that was
    /// forwarded here, it has no control socket on this machine; then the default agent is meant.
    pub(crate) fn connect() -> Result<Self, Problem> {
        let named = socket_in_environment();
        let paths = find(named.as_deref())?;
        let default = find(None)?;
        let refused = match open(&paths) {
            Ok(stream) => return Self::greet(stream),
            Err(error) => error,
        };
        if paths == default {
            return Err(nobody(&default.control, &refused));
        }
        let stream = open(&default).map_err(|error| {
            nobody(&default.control, &error)
                .next(format!("SSH_AUTH_SOCK names {}, which is no agent of this kind.", paths.socket.display()))
        })?;
        eprintln!(
            "agent-cli: {} is no agent of this kind, so the default one is asked ({})",
            crate::safe::safe(&paths.socket.display().to_string()),
            crate::safe::safe(&default.socket.display().to_string()),
        );
        Self::greet(stream)
    }

    /// Connects to the agent that [`AgentSocket::connect`] does, where that one is here and has such a socket.
    pub(crate) fn of_the_same_agent() -> Option<Self> {
        let paths = find(socket_in_environment().as_deref()).ok()?;
        open(&paths).ok().and_then(|stream| Self::greet(stream).ok())
    }

    /// The connection, for who wants to end it while it is waited for.
    pub(crate) fn handle(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Connects to the agent that has its files there, and to no other.
    pub(crate) fn of(paths: &Paths) -> Result<Self, Problem> {
        Self::greet(open(paths).map_err(|error| nobody(&paths.control, &error))?)
    }

    fn greet(stream: UnixStream) -> Result<Self, Problem> {
        let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(|error| gone(&error.to_string()))?;
        if peer.uid != rustix::process::geteuid() {
            return Err(Problem::failed("the control socket is another user's, and would be told your PIN")
                .next("Find out who made it: the folder of the socket has to be yours alone."));
        }
        let mut control = Self { stream, received: Vec::new() };
        match control.next()? {
            Event::Hello { version: VERSION, .. } => Ok(control),
            Event::Hello { version, agent } => Err(Problem::failed(format!(
                "the agent (version {agent}) speaks version {version} of the control messages, and agent-cli (version {}) \
                 version {VERSION}",
                env!("CARGO_PKG_VERSION")
            ))
            .next("Restart the agent, so that both are of the same installation.")),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a request and returns what ends it, where no person is asked anything on the way.
    pub(crate) fn ask(self, request: &Request) -> Result<Event, Problem> {
        self.hold(request).map(|(event, _)| event)
    }

    /// The same for a request that holds as long as the connection does.
    pub(crate) fn hold(mut self, request: &Request) -> Result<(Event, Self), Problem> {
        self.send(request)?;
        match self.next()? {
            Event::Refused { denial, id } => Err(Problem::refused(denial, id)),
            event => Ok((event, self)),
        }
    }

    /// Sends a request. It may carry a PIN, so the line is wiped.
    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Problem> {
        // With room for all of it from the start: a vector that grows leaves copies behind.
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
        serde_json::to_writer(&mut *line, request)
            .map_err(|error| Problem::failed(format!("this can't be said to the agent: {error}")))?;
        line.push(b'\n');
        self.stream.write_all(&line).map_err(|error| gone(&error.to_string()))
    }

    /// Waits for the next event.
    fn next(&mut self) -> Result<Event, Problem> {
        loop {
            if let Some(event) = self.take_event()? {
                return Ok(event);
            }
            self.receive()?;
        }
    }

    /// The next event, if all of it is here.
    pub(crate) fn take_event(&mut self) -> Result<Option<Event>, Problem> {
        let Some(end) = self.received.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.received.drain(..=end).collect();
        serde_json::from_slice(&line).map(Some).map_err(|error| {
            Problem::failed(format!("the agent said something that agent-cli does not understand: {error}"))
                .next("Restart the agent, so that both are of the same installation.")
        })
    }

    /// Receives what is there, and waits when nothing is.
    pub(crate) fn receive(&mut self) -> Result<(), Problem> {
        let mut chunk = [0; 4096];
        let count = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(gone("it closed the connection")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(gone(&error.to_string())),
        };
        self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if self.received.len() > MAX_LINE {
            return Err(Problem::failed("the agent said something that is too long"));
        }
        Ok(())
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Where systemd listens for an agent that is not started yet, a first request does start it; its control socket is there
/// before the answer. Nobody else's socket is in the agent's own folder.
fn open(paths: &Paths) -> std::io::Result<UnixStream> {
    let connect = || UnixStream::connect(&paths.control);
    connect().or_else(|refused| {
        let is_its_own = paths.socket.parent() == paths.control.parent();
        let started = is_its_own && AgentSocket::at(&paths.socket).is_ok_and(|mut agent| agent.list().is_ok());
        if started { connect() } else { Err(refused) }
    })
}

/// The agent answered something else than what was asked.
pub(crate) fn unexpected(event: &Event) -> Problem {
    // Its name alone: what it holds is not for the screen.
    let debug = format!("{event:?}");
    let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    Problem::failed(format!("the agent answered \"{name}\", which was not asked"))
        .next("Restart the agent, so that both are of the same installation.")
}

fn gone(how: &str) -> Problem {
    Problem::unreachable(format!("the agent went away: {how}"))
        .next("Look at the agent's messages, and start it again.")
}

fn nobody(socket: &Path, error: &std::io::Error) -> Problem {
    Problem::unreachable("Could not open a connection to your authentication agent.")
        .next(format!("{}: {error}", socket.display()))
        .next(START)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of connecting to an agent that says this first.
    fn greet(first: &str) -> Result<Control, String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(first.as_bytes()).unwrap();
        drop(theirs);
        Control::greet(ours).map_err(|problem| problem.to_string())
    }

    #[test]
    fn an_agent_of_another_version_is_told_from_ours() {
        assert!(greet("{\"event\":\"hello\",\"version\":1,\"agent\":\"0.1.0\"}\n").is_ok());
        let other = greet("{\"event\":\"hello\",\"version\":2,\"agent\":\"9.9\",\"news\":true}\n").unwrap_err();
        assert!(other.contains("(version 9.9) speaks version 2") && other.contains("Restart the agent"), "{other}");
    }

    #[test]
    fn what_is_no_agent_of_ours_is_an_error() {
        assert!(greet("SSH-2.0-OpenSSH\r\n").unwrap_err().contains("does not understand"));
        assert!(greet("{\"event\":\"attached\"}\n").unwrap_err().contains("\"Attached\", which was not asked"));
        assert!(greet("{\"event\"").unwrap_err().contains("went away"));
        assert!(greet(&"x".repeat(MAX_LINE + 1)).is_err());
    }

    #[test]
    fn events_that_come_together_are_read_one_by_one() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut control = Control { stream: ours, received: Vec::new() };
        theirs.write_all(b"{\"event\":\"attached\"}\n{\"event\":\"replaced\"}\n{\"ev").unwrap();
        assert!(matches!(control.next(), Ok(Event::Attached)));
        assert!(matches!(control.take_event(), Ok(Some(Event::Replaced))));
        assert!(matches!(control.take_event(), Ok(None)));
    }
}
