//! What each command of the protocol does.

use std::panic;

use agent::token::TokenError;
use agent::token::protocol::{Command, Reply};

use crate::daemon::Daemon;
use crate::failure::{Stop, failure};
use crate::hid;
use crate::operation::{Operation, first_of, perform};
use crate::verification::{self, Means};

/// Carries out a command.
pub(crate) fn execute(command: Command, daemon: &mut Daemon) -> Result<Reply, Stop> {
    match command {
        Command::List => panic::catch_unwind(hid::devices)
            .map(Reply::Devices)
            .map_err(|_| failure(TokenError::Protocol, "the devices can't be enumerated").into()),
        Command::GetState { path } => perform(daemon, &path, hid::state(&path)).map(Reply::State),
        Command::Probe { path, application, key_handle, data } => {
            let job = hid::probe(&path, application, key_handle.0, data.0);
            perform(daemon, &path, job).map(Reply::Assertion)
        }
        Command::Select { paths } => {
            let operations = paths.into_iter().map(|path| {
                let job = hid::selection(&path);
                Operation::new(path, job)
            });
            first_of(daemon, operations.collect()).map(|(path, ())| Reply::Selected { path })
        }
        Command::GetAssertion { path, application, key_handle, data, verification } => {
            let means = Means::of(&verification)?;
            let job = hid::get_assertion(&path, application, key_handle.0, data.0, verification);
            perform(daemon, &path, job).map(Reply::Assertion).map_err(|stop| means.explain(stop, daemon, &path))
        }
        Command::VerifyPin { path, pin } => {
            verification::check(&pin)?;
            let job = hid::verify_pin(&path, pin);
            let verified = perform(daemon, &path, job).map(|()| Reply::PinVerified);
            verified.map_err(|stop| Means::Pin.explain(stop, daemon, &path))
        }
        Command::MakeCredential { path, options, verification } => {
            let means = Means::of(&verification)?;
            let job = hid::make_credential(&path, options, verification);
            perform(daemon, &path, job).map(Reply::Credential).map_err(|stop| means.explain(stop, daemon, &path))
        }
        Command::EnumerateCredentials { path, pin } => {
            verification::check(&pin)?;
            let job = hid::enumerate_credentials(&path, pin);
            perform(daemon, &path, job).map(Reply::Credentials).map_err(|stop| Means::Pin.explain(stop, daemon, &path))
        }
    }
}
