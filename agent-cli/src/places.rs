//! Where an agent has its files.

use std::path::Path;

use agent::paths::Paths;

use crate::problem::Problem;

/// Where the agent at `socket` has them; without one, the default agent.
pub(crate) fn find(socket: Option<&Path>) -> Result<Paths, Problem> {
    Paths::find(socket).map_err(|error| Problem::failed(format!("{error:#}")))
}
