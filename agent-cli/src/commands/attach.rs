//! `agent-cli attach`.

use std::io::{stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::control::{Event, Request};
use agent::prompt::environment::Environment;
use agent::refusal::Refusal;
use rustix::termios::ttyname;

use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
use crate::output::print;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// How to attach.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave when the first request that was shown here is over
    #[arg(long)]
    once: bool,
    /// Hand this terminal, display and session bus over to the agent, where pinentry and askpass appear from then on, and
    /// leave
    #[arg(long, conflicts_with = "once")]
    env: bool,
}

/// Shows prompts, and what was refused, until Ctrl-C, the end of the agent, or, with `--once`, the end of one request.
pub(crate) fn run(options: &Options, terminal: &mut Terminal) -> Result<ExitCode, Problem> {
    if options.env {
        return hand_over();
    }
    let mut conversation = Conversation::begin(Control::connect()?, terminal, &Request::Attach)?;
    match conversation.result()? {
        Event::Attached => conversation.say("Prompts appear here from now on. Ctrl-C ends it."),
        other => return Err(unexpected(&other)),
    }
    loop {
        let over = match conversation.next()? {
            Event::Replaced => {
                conversation.say("Another terminal gets the prompts from now on, until it leaves.");
                false
            }
            Event::Signed { asked } => {
                conversation.say(&format!("Signed: {asked}"));
                true
            }
            Event::RequestRefused { shown, refusal } => {
                lines(&refusal).iter().for_each(|line| conversation.say(line));
                shown
            }
            other => return Err(unexpected(&other)),
        };
        if over && options.once {
            return Ok(ExitCode::SUCCESS);
        }
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

/// What happened, then what to do.
fn lines(refusal: &Refusal) -> [String; 2] {
    let Refusal { id, asked, by, denial } = refusal;
    let id = id.map_or_else(String::new, |id| format!(" {id}"));
    let again = refusal.again().map_or_else(String::new, |again| format!(" [{again}]"));
    [
        format!("Refused{id}: {asked}, asked by {by}: {} ({})", denial.reason, denial.code),
        format!("  {}{again}", denial.code.next()),
    ]
}
