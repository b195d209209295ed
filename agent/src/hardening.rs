//! What keeps the agent's memory to itself, and what it has no use for from it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getgid, set_dumpable_behavior, setrlimit};
use rustix::thread::set_thread_res_gid;

/// No core dumps, no ptrace by other programs of the same user.
///
/// # Errors
/// When the system refuses.
pub fn keep_memory_private() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Gives up the group of a program that is installed setgid, as ssh-agent was against ptrace. It is a thread's group that
/// is changed: while there is only one, that is the process's.
///
/// # Errors
/// When the system refuses.
pub fn give_up_group() -> std::io::Result<()> {
    let own = getgid();
    set_thread_res_gid(own, own, own)?;
    Ok(())
}
