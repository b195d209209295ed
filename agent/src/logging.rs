//! The agent's own messages. They are not the audit log, and hold no request, PIN or password at any level.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Messages go to standard error, from level `info` up, or as FIDO_SSH_AGENT_LOG says (`debug`, `agent=trace`, …).
pub fn start() {
    let filter = EnvFilter::try_from_env("FIDO_SSH_AGENT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let messages = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A message that can't be written is dropped: the fallback would panic where standard error is gone.
    let messages = messages.log_internal_errors(false);
    let _ = messages.with_ansi(false).with_timer(SystemTime).try_init();
}
