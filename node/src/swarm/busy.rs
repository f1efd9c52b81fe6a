//! Asking again a peer that has too much to do, or that this node asks too much already.

use std::time::Duration;

/// Asks until there is an answer; in between it pauses. `None` when it is still busy after the last pause.
pub(crate) async fn while_busy<T, F: Future<Output = Option<T>>>(
    pauses: impl IntoIterator<Item = Duration>,
    mut ask: impl FnMut() -> F,
) -> Option<T> {
    let mut pauses = pauses.into_iter();
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tokio::time::sleep(pauses.next()?).await;
    }
}
