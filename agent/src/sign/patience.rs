//! How long a request goes on: until its client hangs up, its person leaves, the agent is to end, a stage's limit, or the
//! request's own.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::denial::{Code, Denial};

/// The bounds of one request.
pub(crate) struct Patience<'a> {
    agent: &'a Agent,
    client: &'a CancellationToken,
    end: Instant,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(agent: &'a Agent, client: &'a CancellationToken, limit: Duration) -> Self {
        Self { agent, client, end: Instant::now() + limit }
    }

    /// Waits for `work`, which is dropped when the client hangs up, the agent is locked for its person's absence or is to end,
    /// or the request's time is over.
    pub(crate) async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Denial> {
        self.until(self.end, Code::RequestTimeout, work).await
    }

    /// The same, with a limit of its own and the code for when it is over.
    pub(crate) async fn wait_at_most<T>(
        &self,
        limit: Duration,
        code: Code,
        work: impl Future<Output = T>,
    ) -> Result<T, Denial> {
        let end = Instant::now() + limit;
        if end < self.end { self.until(end, code, work).await } else { self.wait(work).await }
    }

    async fn until<T>(&self, end: Instant, code: Code, work: impl Future<Output = T>) -> Result<T, Denial> {
        tokio::select! {
            biased;
            () = self.client.cancelled() => Err(Denial::plain(self.why_cancelled())),
            denial = self.agent.lock.left() => Err(denial),
            done = work => Ok(done),
            () = sleep_until(end) => Err(Denial::plain(code)),
        }
    }

    /// A client's token is a child of the agent's.
    fn why_cancelled(&self) -> Code {
        if self.agent.stop.is_cancelled() { Code::AgentStopped } else { Code::ClientGone }
    }
}
