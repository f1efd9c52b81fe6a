//! What may be seen of transfers under way: who brings what, who was given up, and why nothing comes. It decides nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::{AssetId, NodeKey};
use tokio::sync::watch;

use super::ask::Fault;

/// A transfer whose bytes come less often than this is waiting.
const WAITS_AFTER: Duration = Duration::from_secs(1);
/// How long a transfer that has ended is shown: a client that waited asks afterwards who was given up.
const SHOWN_AFTER_END: Duration = Duration::from_secs(10);
/// Transfers that are shown: more than there may be at once, and some that have ended.
const SHOWN_MAX: usize = 512;

/// One transfer of content to this node, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferView {
    /// The content.
    pub id: AssetId,
    /// Its size in bytes.
    pub size: u64,
    /// Everything before this byte that is wanted has come.
    pub to: u64,
    /// Those that bring it, brought it, or were given up.
    pub providers: Vec<ProviderView>,
    /// How long no byte has come, if that is longer than a second.
    pub waiting: Option<Duration>,
    /// When it ended, if it has.
    pub ended: Option<Instant>,
}

/// One provider of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderView {
    /// Who.
    pub key: NodeKey,
    /// What it does.
    pub state: ProviderState,
    /// What was wrong with it last, in words.
    pub trouble: Option<String>,
}

/// What a provider does for a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderState {
    /// It was asked for a range, and last brought some of one so long ago.
    Bringing(Duration),
    /// It has nothing to do.
    Idle,
    /// It has no room, and is asked again soon.
    Busy,
    /// It was lost, stalled or lied.
    GivenUp,
}

/// All transfers under way. Clones show the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Views {
    all: Arc<Mutex<Vec<watch::Receiver<TransferView>>>>,
}

impl Views {
    /// Shows one more transfer, until its sender is dropped.
    pub(super) fn show(&self, first: TransferView) -> watch::Sender<TransferView> {
        let (sender, view) = watch::channel(first);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|view| is_shown(&view.borrow(), Instant::now()));
        if all.len() >= SHOWN_MAX {
            let ended = all.iter().position(|view| view.borrow().ended.is_some()).unwrap_or_default();
            all.remove(ended);
        }
        all.push(view);
        sender
    }

    /// What is under way at this time, or ended a moment before.
    pub(super) fn at(&self, now: Instant) -> Vec<TransferView> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let views = all.iter().map(|view| view.borrow().clone());
        views.filter(|view| is_shown(view, now)).collect()
    }
}

fn is_shown(view: &TransferView, now: Instant) -> bool {
    view.ended.is_none_or(|ended| now.saturating_duration_since(ended) < SHOWN_AFTER_END)
}

/// One transfer's own page.
#[derive(Debug)]
pub(super) struct Page {
    sender: watch::Sender<TransferView>,
    troubles: BTreeMap<NodeKey, String>,
    moved: Instant,
}

impl Page {
    /// A transfer of this content begins.
    pub(super) fn new(views: &Views, id: AssetId, size: u64, now: Instant) -> Self {
        let view = TransferView { id, size, to: 0, providers: Vec::new(), waiting: None, ended: None };
        Self { sender: views.show(view), troubles: BTreeMap::new(), moved: now }
    }

    /// Notes what was wrong with a provider.
    pub(super) fn trouble(&mut self, provider: NodeKey, fault: &Fault) {
        self.troubles.insert(provider, fault.to_string());
    }

    /// Shows how it stands.
    pub(super) fn update(&mut self, now: Instant, to: u64, states: Vec<(NodeKey, ProviderState)>) {
        if self.sender.borrow().to != to {
            self.moved = now;
        }
        let silence = now.saturating_duration_since(self.moved);
        let provider = |(key, state)| ProviderView { key, state, trouble: self.troubles.get(&key).cloned() };
        let providers = states.into_iter().map(provider).collect();
        let waiting = (silence >= WAITS_AFTER).then_some(silence);
        self.sender.send_modify(|view| *view = TransferView { to, providers, waiting, ..*view });
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.sender.send_modify(|view| {
            view.waiting = None;
            view.ended = Some(Instant::now());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeKey = NodeKey([1; 32]);

    #[test]
    fn a_transfer_is_shown_until_it_ends_and_says_since_when_nothing_comes() {
        let (views, start) = (Views::default(), Instant::now());
        let mut page = Page::new(&views, AssetId::of(b"x"), 100, start);
        page.update(start, 10, vec![(PEER, ProviderState::Bringing(Duration::ZERO))]);
        let shown = |at| views.at(at).remove(0);
        assert_eq!((shown(start).to, shown(start).waiting), (10, None));
        let later = start + Duration::from_secs(3);
        page.trouble(PEER, &Fault::Stalled(Duration::from_secs(10)));
        page.update(later, 10, vec![(PEER, ProviderState::GivenUp)]);
        let waits = shown(later);
        assert_eq!(waits.waiting, Some(Duration::from_secs(3)));
        assert_eq!(waits.providers[0].state, ProviderState::GivenUp);
        assert!(waits.providers[0].trouble.as_ref().unwrap().contains("stalled"), "{waits:?}");
        page.update(
            later,
            20,
            waits.providers.iter().map(|provider| (provider.key, provider.state)).collect(),
        );
        assert_eq!(shown(later).waiting, None);
        drop(page);
        let ended = Instant::now();
        assert_eq!(shown(ended).providers, waits.providers, "who waited may still ask");
        assert_eq!(views.at(ended + SHOWN_AFTER_END), []);
    }

    #[test]
    fn only_so_many_are_shown_and_the_ended_go_first() {
        let (views, now) = (Views::default(), Instant::now());
        let kept = Page::new(&views, AssetId::of(b"kept"), 1, now);
        for n in 0..2 * SHOWN_MAX {
            drop(Page::new(&views, AssetId::of(&n.to_le_bytes()), 1, now));
        }
        let shown = views.at(now);
        assert_eq!((shown.len(), shown[0].id), (SHOWN_MAX, AssetId::of(b"kept")));
        drop(kept);
    }
}
