//! What each command of the protocol does.

use std::panic;

use agent::token::TokenError;
use agent::token::protocol::{Command, Failure, Pin, Reply};

use crate::attempt::Job;
use crate::daemon::Daemon;
use crate::failure::{Stop, failure};
use crate::hid;
use crate::operation::{Operation, first_of, perform, tidy_up};
use crate::status;
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
            let selected = first_of(daemon, operations.collect()).map(|(path, ())| Reply::Selected { path });
            selected.map_err(|stop| match stop {
                Stop::Failed(failure) => Failure { error: status::of_selection(failure.error), ..failure }.into(),
                Stop::DaemonGone => stop,
            })
        }
        Command::GetAssertion { path, application, key_handle, data, verification } => {
            let means = Means::of(&verification)?;
            let job = hid::get_assertion(&path, application, key_handle.0, data.0, verification);
            perform(daemon, &path, job).map(Reply::Assertion).map_err(|stop| means.explain(stop, daemon, &path))
        }
        Command::VerifyPin { path, pin } => {
            with_pin(daemon, &path, &pin.clone(), hid::verify_pin(&path, pin)).map(|()| Reply::PinVerified)
        }
        Command::MakeCredential { path, options, verification } => {
            let means = Means::of(&verification)?;
            let job = hid::make_credential(&path, options, verification);
            perform(daemon, &path, job).map(Reply::Credential).map_err(|stop| means.explain(stop, daemon, &path))
        }
        Command::EnumerateCredentials { path, pin } => {
            with_pin(daemon, &path, &pin.clone(), hid::enumerate_credentials(&path, pin)).map(Reply::Credentials)
        }
        Command::DeleteCredential { path, pin, key_handle } => {
            done(with_pin(daemon, &path, &pin.clone(), hid::delete_credential(&path, pin, key_handle.0)))
        }
        Command::SetPin { path, new } => {
            verification::check_new(&new)?;
            done(perform(daemon, &path, hid::set_pin(&path, new)).map_err(not_taken))
        }
        Command::ChangePin { path, old, new } => {
            verification::check_new(&new)?;
            let changed = with_pin(daemon, &path, &old.clone(), hid::change_pin(&path, old, new));
            done(changed.map_err(not_taken))
        }
        Command::ListFingerprints { path, pin } => {
            with_pin(daemon, &path, &pin.clone(), hid::list_fingerprints(&path, pin)).map(Reply::Fingerprints)
        }
        Command::EnrollFingerprint { path, pin, name, touch_milliseconds } => {
            let job = hid::enroll_fingerprint(&path, pin.clone(), name, touch_milliseconds);
            let enrolled = with_pin(daemon, &path, &pin, job).map(|id| Reply::Enrolled { id });
            if enrolled.is_err() {
                tidy_up(&path, hid::cancel_enrollment(&path));
            }
            enrolled
        }
        Command::RenameFingerprint { path, pin, id, name } => {
            done(with_pin(daemon, &path, &pin.clone(), hid::rename_fingerprint(&path, pin, id, name)))
        }
        Command::RemoveFingerprint { path, pin, id } => {
            done(with_pin(daemon, &path, &pin.clone(), hid::remove_fingerprint(&path, pin, id)))
        }
    }
}

/// Carries out a command that the PIN has to be given for.
fn with_pin<T: Send + 'static>(daemon: &mut Daemon, path: &str, pin: &Pin, job: Job<T>) -> Result<T, Stop> {
    verification::check(pin)?;
    perform(daemon, path, job).map_err(|stop| Means::Pin.explain(stop, daemon, path))
}

/// PIN_POLICY_VIOLATION is about the new PIN where there is one (CTAP 2.1 § 6.5.5.5, § 6.5.5.6).
fn not_taken(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(failure) if failure.error == TokenError::PinChangeRequired => {
            Stop::Failed(Failure { error: TokenError::PinPolicy, ..failure })
        }
        other => other,
    }
}

fn done(result: Result<(), Stop>) -> Result<Reply, Stop> {
    result.map(|()| Reply::Done)
}
