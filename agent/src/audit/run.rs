//! What all records of one run of an agent say of it.

use ssh_key::rand_core::{OsRng, RngCore};

use super::chain::Hash;
use super::record::{AgentRun, RunId};

/// Where the kernel names this boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// An agent's that starts now, with this configuration. Where the system names no boot, its name is empty.
#[must_use]
pub fn begin(instance: &str, config: Hash) -> AgentRun {
    /// JSON's numbers are whole below 2⁵³ (RFC 8785 § 3.2.2.3).
    const BITS: u32 = 53;
    AgentRun {
        instance: instance.to_owned(),
        run: RunId(OsRng.next_u64() >> (u64::BITS - BITS)),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        boot_id: std::fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default(),
        config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_run_is_like_another() {
        let runs = [begin("default", Hash::of(b"")), begin("default", Hash::of(b""))];
        assert_ne!(runs[0].run, runs[1].run);
        assert!(runs.iter().all(|run| run.run.0 < 1 << 53 && run.boot_id.len() == 36), "{runs:?}");
    }
}
