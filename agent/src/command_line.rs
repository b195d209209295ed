//! What the command line asks for, beside serving.

pub(crate) mod background;
pub(crate) mod shell;
pub(crate) mod units;
