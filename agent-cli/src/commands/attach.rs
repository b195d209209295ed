//! `agent-cli attach`.

use std::io::{stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::control::{Event, Request};
use agent::prompt::environment::Environment;
use rustix::termios::ttyname;

use crate::control::{Control, unexpected};
use crate::conversation::{Conversation, Next};
use crate::output::print;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// How long after an answer another prompt of the same request may come: the agent opens a key file, looks for the
/// token and talks to it before it asks for a touch.
const AFTER_ANSWER: Duration = Duration::from_secs(8);

/// How long after anything else: a finger that was not recognised is asked for again at once.
const AFTER_NOTICE: Duration = Duration::from_secs(2);

/// How to attach.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave when the prompts of one request are over
    #[arg(long)]
    once: bool,
    /// Hand this terminal, display and session bus over to the agent, where pinentry and askpass appear from then on, and
    /// leave
    #[arg(long, conflicts_with = "once")]
    env: bool,
}

/// Shows prompts until Ctrl-C, the end of the agent, or, with `--once`, the end of one request.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    if options.env {
        return hand_over();
    }
    let mut conversation = Conversation::begin(Control::connect()?, terminal, &Request::Attach)?;
    match conversation.result()? {
        Event::Attached => conversation.say("Prompts appear here from now on. Ctrl-C ends it."),
        other => return Err(unexpected(&other)),
    }
    // The agent does not say where a request ends, so --once takes a silence for its end.
    let mut silence = None;
    loop {
        silence = match conversation.next(silence.filter(|_| options.once))? {
            Next::Quiet => return Ok(ExitCode::SUCCESS),
            Next::Answered => Some(AFTER_ANSWER),
            Next::Unanswered | Next::NoticeOver => Some(AFTER_NOTICE),
            Next::Notice => None,
            Next::Event(Event::Replaced) => {
                conversation.say("Another terminal gets the prompts from now on, until it leaves.");
                silence
            }
            Next::Event(other) => return Err(unexpected(&other)),
        };
    }
}

/// As gpg-agent's UPDATESTARTUPTTY: an agent that systemd has started knows neither display nor terminal by itself.
fn hand_over() -> Result<ExitCode, Problem> {
    let mut environment = Environment::of_this_process();
    // The terminal's own name, which /dev/tty does not tell.
    let streams = [stdin().as_fd().try_clone_to_owned(), stdout().as_fd().try_clone_to_owned()];
    let ttys = streams.into_iter().flatten().filter_map(|stream| ttyname(&stream, Vec::new()).ok());
    let tty = ttys.filter_map(|name| name.into_string().ok()).map(PathBuf::from).next();
    environment.tty = tty.or(environment.tty);
    let place = environment.describe();
    match Control::connect()?.ask(&Request::HandOver(environment))? {
        Event::HandedOver { prompts: Ok(prompts) } => {
            print(&format!("Handed over: {place}. Prompts appear {prompts}."))?
        }
        Event::HandedOver { prompts: Err(reason) } => {
            return Err(Problem::failed(format!("{place}: handed over, but no prompt can appear there: {reason}")));
        }
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
