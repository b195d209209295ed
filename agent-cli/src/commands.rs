//! The commands, a file each.

pub(crate) mod add;
pub(crate) mod attach;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod list;
pub(crate) mod manual;
pub(crate) mod publish;
pub(crate) mod published;
pub(crate) mod refresh;
pub(crate) mod rehearse;
pub(crate) mod remove;
pub(crate) mod ssh_config;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod unlock;
pub(crate) mod why;
