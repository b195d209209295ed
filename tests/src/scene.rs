//! The beginning that most scenarios share.

use soft_token::{Device, Touch};

use crate::{Agent, AgentOptions, Env, Host, KeyFile, PATIENCE, Recipe, TokenKind};

/// A token is plugged in and waits to be touched by the test; its key may log in on the host `device`, and the agent
/// holds it.
pub struct Scene {
    /// The agent.
    pub agent: Agent,
    /// The token.
    pub token: Device,
    /// The key.
    pub key: KeyFile,
    /// The host.
    pub device: Host,
    /// The place.
    pub env: Env,
}

impl Scene {
    /// With a token of this kind and a key like this, made by ssh-keygen.
    #[must_use]
    pub fn ready(kind: TokenKind, recipe: &Recipe) -> Self {
        Self::with(kind, recipe, |agent| agent)
    }

    /// The same, with an agent that is started in another way.
    #[must_use]
    pub fn with(kind: TokenKind, recipe: &Recipe, agent: impl FnOnce(AgentOptions) -> AgentOptions) -> Self {
        let scene = Self::with_key_not_added(kind, recipe, agent);
        scene.agent.ssh_add(&scene.key);
        scene
    }

    /// As [`Scene::ready`], in a place that is there.
    #[must_use]
    pub fn at(env: Env, kind: TokenKind, recipe: &Recipe) -> Self {
        let scene = Self::prepare(env, kind, recipe, |agent| agent);
        scene.agent.ssh_add(&scene.key);
        scene
    }

    /// The same, but that the agent does not hold the key yet.
    #[must_use]
    pub fn with_key_not_added(
        kind: TokenKind,
        recipe: &Recipe,
        agent: impl FnOnce(AgentOptions) -> AgentOptions,
    ) -> Self {
        Self::prepare(Env::new(), kind, recipe, agent)
    }

    fn prepare(env: Env, kind: TokenKind, recipe: &Recipe, agent: impl FnOnce(AgentOptions) -> AgentOptions) -> Self {
        let token = env.plug(kind.options());
        let key = env.ssh_keygen(recipe);
        token.set_touch(Touch::Manual);
        // What the scenario waits for to happen to the token comes after this.
        for _ in token.events() {
            token.wait_for(|_| true, PATIENCE);
        }
        let device = env.host("device");
        device.authorize(&key);
        let agent = agent(env.agent()).start();
        Self { agent, token, key, device, env }
    }
}
