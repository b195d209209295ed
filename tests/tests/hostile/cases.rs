//! The attacks.

mod bindings;
mod constraints;
mod damaged;
mod descriptors;
mod floods;
mod forwarded;
mod framing;
mod key_material;
mod locked;
mod signing;

use crate::case::Case;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        framing::cases(),
        damaged::cases(),
        key_material::cases(),
        constraints::cases(),
        bindings::cases(),
        signing::cases(),
        forwarded::cases(),
        locked::cases(),
        floods::cases(),
        descriptors::cases(),
    ];
    groups.into_iter().flatten().collect()
}

/// Whether there is time for everything.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("SOAK").is_some()
}

/// What is done at length in a soak, and shortly otherwise.
pub(crate) fn many(shortly: usize, at_length: usize) -> usize {
    if is_soak() { at_length } else { shortly }
}
