//! What most scenarios begin with: an operator with a token, its key in the agent, an account, and the Azure CLI.

use std::path::Path;

use soft_token::{Device, Touch};
use tests::graph::{self, Graph};
use tests::{Agent, AgentOptions, Ended, Env, KeyFile, Program, Recipe, Scene, TokenKind};

/// The operator's place.
pub(crate) struct Fabric {
    pub(crate) graph: Graph,
    pub(crate) agent: Agent,
    pub(crate) token: Device,
    pub(crate) key: KeyFile,
    pub(crate) env: Env,
}

impl Fabric {
    /// The key is used by fingerprint, and whoever it is says so at once.
    pub(crate) fn ready() -> Self {
        Self::with(TokenKind::Fingerprint, |agent| agent)
    }

    pub(crate) fn with(kind: TokenKind, agent: impl FnOnce(AgentOptions) -> AgentOptions) -> Self {
        let graph = Graph::start();
        let recipe = Recipe::ed25519().resident().verify_required();
        let Scene { env, token, agent, key, .. } =
            Scene::with(kind, &recipe, |options| graph.in_settings(agent(options)));
        token.set_touch(Touch::Always);
        graph::signed_in(&env);
        Self { graph, agent, token, key, env }
    }

    /// The Azure CLI does this, and writes down how it was called.
    pub(crate) fn az(&self, script: &str) {
        graph::azure_cli(&self.env, script);
    }

    /// How the Azure CLI was called.
    pub(crate) fn az_calls(&self) -> String {
        std::fs::read_to_string(self.env.path("az-calls")).unwrap_or_default()
    }

    /// `agent-cli`, which finds the Azure CLI and is typed this.
    pub(crate) fn cli(&self, arguments: &[&str], typed: &str) -> Program {
        let path = format!("{}:/usr/bin:/bin", self.env.path("bin").display());
        self.agent.cli(["-S"]).args(arguments).env("PATH", path).input(typed)
    }

    /// `agent-cli publish FILE.pub`, agreed to.
    pub(crate) fn publish(&self) -> Ended {
        self.cli(&["publish"], "y\n").arg(self.key.public_path()).run()
    }

    /// The same of another file.
    pub(crate) fn publish_file(&self, file: &Path) -> Ended {
        self.cli(&["publish"], "y\n").arg(file).run()
    }

    /// How many signatures the token has made.
    pub(crate) fn signatures(&self) -> usize {
        self.agent.audit().signatures().len()
    }
}
