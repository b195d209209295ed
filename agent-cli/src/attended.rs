//! Something that takes a while, and in which the agent asks a person: here, where somebody sits at this terminal.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use agent::control::{Event, Request};

use crate::control::{Control, unexpected};
use crate::conversation::Conversation;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// Does `work`. What the agent asks meanwhile, it asks at this terminal if somebody sits here, and else where it always does.
/// A signal ends it by `hang_up`, after which the work has to end by itself.
pub(crate) fn while_asked_here<T: Send>(
    terminal: &mut Terminal,
    work: impl FnOnce() -> Result<T, Problem> + Send,
    hang_up: impl FnOnce(),
) -> Result<T, Problem> {
    let control = if terminal.is_attended() { Control::of_the_same_agent() } else { None };
    let Some(control) = control else {
        let (over, end) = UnixStream::pair().map_err(failed)?;
        return work_while(work, hang_up, &end, || terminal.wait(false, Some(over.as_fd())).map(drop));
    };
    let end = control.handle().map_err(failed)?;
    let mut conversation = Conversation::begin(control, terminal, &Request::Attach)?;
    match conversation.result()? {
        Event::Attached => {}
        other => return Err(unexpected(&other)),
    }
    work_while(work, hang_up, &end, || {
        loop {
            conversation.next()?;
        }
    })
}

/// Works while something is done that ends with `end`, or by a signal: the agent does not say of each request that it is over.
fn work_while<T: Send>(
    work: impl FnOnce() -> Result<T, Problem> + Send,
    hang_up: impl FnOnce(),
    end: &UnixStream,
    meanwhile: impl FnOnce() -> Result<(), Problem>,
) -> Result<T, Problem> {
    std::thread::scope(|scope| {
        let working = scope.spawn(move || {
            let done = work();
            let _ = end.shutdown(Shutdown::Both);
            done
        });
        let interrupted = meanwhile().err().filter(Problem::is_interruption);
        if interrupted.is_some() {
            hang_up();
        }
        let done = working.join().map_err(|_| Problem::failed("it came to nothing"))?;
        interrupted.map_or(done, Err)
    })
}

fn failed(error: std::io::Error) -> Problem {
    Problem::failed(format!("there is no way to wait for the agent: {error}"))
}
