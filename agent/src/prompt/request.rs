//! For which request a person is asked: a terminal has to know it, to say when that request is over.

use std::future::Future;

use crate::audit::record::RequestId;

tokio::task_local! {
    static REQUEST: RequestId;
}

/// Serves a request. All that a person is asked on the way is asked for it.
pub(crate) async fn serving<T>(request: RequestId, work: impl Future<Output = T>) -> T {
    REQUEST.scope(request, work).await
}

/// The request that is being served here; None where it is none for a signature.
pub(super) fn current() -> Option<RequestId> {
    REQUEST.try_with(|request| *request).ok()
}
