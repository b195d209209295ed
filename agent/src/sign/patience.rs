//! How long a request goes on: until its client hangs up, a stage's limit, or the request's own.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::denial::{Code, Denial};

/// The bounds of one request.
pub(crate) struct Patience<'a> {
    client: &'a CancellationToken,
    end: Instant,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(client: &'a CancellationToken, limit: Duration) -> Self {
        Self { client, end: Instant::now() + limit }
    }

    /// Waits for `work`, which is dropped when the client hangs up or the request's time is over.
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
            () = self.client.cancelled() => Err(Denial::plain(Code::ClientGone)),
            done = work => Ok(done),
            () = sleep_until(end) => Err(Denial::plain(code)),
        }
    }
}
