//! Tells the user why no byte comes, while none comes: it asks the node which providers it waits for. The download
//! itself is not touched by that, and goes on whatever comes of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Screen;
use crate::client::{Client, text};
use crate::output::printable;

/// Silence that is worth a word; then a word each time so much has passed.
const SILENCE: Duration = Duration::from_secs(2);
/// How long the node may take to say why.
const REASON_WITHIN: Duration = Duration::from_secs(1);

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// When the last byte came.
    since: Option<Instant>,
    /// Providers that were given up, with the reason.
    given_up: BTreeSet<String>,
}

impl Told {
    /// Waits for the next bytes of some content, and says why they do not come.
    pub(super) async fn while_waiting<T>(
        &mut self,
        next: impl Future<Output = T>,
        asset_id: &str,
        client: &Client,
        screen: &Screen,
    ) -> T {
        if !screen.output.notes() {
            return next.await;
        }
        let begun = Instant::now();
        let mut next = pin!(next);
        let mut ticks = interval_at(begun + SILENCE, SILENCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut next => {
                    if self.since.take().is_some() {
                        // Who was given up meanwhile, so that another could go on.
                        self.tell(reasons(asset_id, client).await, None, screen);
                    }
                    return done;
                }
                _ = ticks.tick() => {
                    self.since = Some(begun);
                    let waited = begun.elapsed();
                    tokio::select! {
                        biased;
                        told = reasons(asset_id, client) => self.tell(told, Some(waited), screen),
                        () = tokio::time::sleep(REASON_WITHIN) => {}
                    }
                }
            }
        }
    }

    fn tell(&mut self, reasons: Option<Reasons>, waited: Option<Duration>, screen: &Screen) {
        let Reasons { waiting, given_up } = reasons.unwrap_or_default();
        for line in given_up {
            if !self.given_up.contains(&line) {
                screen.note(&line);
                self.given_up.insert(line);
            }
        }
        if let Some(waited) = waited {
            screen.note(format_args!("{waiting}: {} s", waited.as_secs()));
        }
    }
}

/// Why a transfer waits, as its node says.
#[derive(Debug, PartialEq, Eq)]
struct Reasons {
    waiting: String,
    given_up: Vec<String>,
}

impl Default for Reasons {
    fn default() -> Self {
        Self { waiting: "waiting for the node".to_owned(), given_up: Vec::new() }
    }
}

/// Nothing if the node cannot say.
async fn reasons(asset_id: &str, client: &Client) -> Option<Reasons> {
    let mut url = client.url(&["v1", "transfers"]);
    url.query_pairs_mut().append_pair("asset_id", asset_id);
    let asked = async {
        let response = client.send(client.request(Method::GET, url)).await?;
        client.json(response).await
    };
    let answer = tokio::time::timeout(REASON_WITHIN, asked).await.ok()?.ok()?;
    Some(Reasons::of(answer.get("data")?))
}

impl Reasons {
    fn of(transfers: &Value) -> Self {
        let transfers = transfers.as_array().map_or(&[][..], Vec::as_slice);
        let mut told = Self::default();
        let reason = transfers.iter().map(|transfer| text(transfer, "reason")).find(|text| !text.is_empty());
        if let Some(reason) = reason {
            told.waiting = printable(reason);
        }
        let providers =
            transfers.iter().filter_map(|transfer| transfer.get("providers")?.as_array()).flatten();
        for provider in providers.filter(|provider| text(provider, "state") == "given_up") {
            let name = match text(provider, "name") {
                "" => text(provider, "assets_db_id"),
                name => name,
            };
            told.given_up.push(printable(&format!("{name} was given up: {}", text(provider, "trouble"))));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_node_says_is_told_in_its_words_and_harmless() {
        let transfers = json!([
            {"reason": null, "providers": []},
            {"reason": "waiting for n\u{1b}2", "providers": [
                {"name": "n2", "state": "bringing", "trouble": null},
                {"name": "", "assets_db_id": "i", "state": "given_up", "trouble": "it stalled"},
            ]},
        ]);
        let expect = Reasons {
            waiting: "waiting for n\\u{1b}2".to_owned(),
            given_up: vec!["i was given up: it stalled".to_owned()],
        };
        assert_eq!(Reasons::of(&transfers), expect);
        for nothing in [json!([]), json!(null), json!({"a": 1}), json!([1, {"providers": 5}])] {
            assert_eq!(Reasons::of(&nothing), Reasons::default(), "{nothing}");
        }
    }
}
