//! What users of ssh-agent would notice, against Debian's ssh-agent in the same run: signatures of tokens and of software
//! keys, lists, start, memory. `make bench` runs all of it, and the tokens in the virtual machine too.
//!
//! The two take turns, so that whatever else the machine does meets both. Our audit log is on.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on ends, with a sentence that says why"
)]

mod audit;
mod connections;
mod contender;
mod software;
mod table;
mod tokens;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [connections::HOLD, socket, number] => connections::hold(socket.as_ref(), number),
        ["software"] => software::run(),
        ["audit"] => audit::run(),
        ["tokens", turns] => tokens::run(turns.parse().expect("the number of turns is a number")),
        [] => {
            software::run();
            println!();
            tokens::run(200);
            println!();
            audit::run();
        }
        _ => panic!("usage: bench [software | audit | tokens TURNS]"),
    }
}
