//! Members that the operator of this node has given up for good: nobody waits for what they hold. It is this node's own
//! view; it changes neither the registry nor liveness, and ends when such a member is heard again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::actor::{Gone, Mailbox, Reply, Tasks};
use crate::liveness::{PeerState, Peers};

const FILE: &str = "forgotten.json";
const FORMAT: u32 = 1;
/// Longest file that is read: some 50 000 keys.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Questions that may wait: they are an operator's.
const MAILBOX: usize = 8;

/// Those that are forgotten now.
pub(crate) type Set = Arc<BTreeSet<NodeKey>>;

/// Why a member is not forgotten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No member has this `assets_db_id`.
    #[error("no peer has the assets_db_id `{0}`")]
    Unknown(String),
    /// It may still answer.
    #[error("the peer is {0} and would be heard again at once: only one that is down can be forgotten")]
    Present(PeerState),
    /// It is this node.
    #[error("this is the node itself, which is alive")]
    Own,
    /// It could not be written down. It is not forgotten.
    #[error("what was forgotten cannot be written down: {0}")]
    Failed(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Forgets members. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Forgotten {
    mailbox: Mailbox<Question>,
    set: watch::Receiver<Set>,
}

#[derive(Debug)]
struct Question {
    peer: NodeKey,
    /// All members: who is none any more need not be remembered.
    members: BTreeSet<NodeKey>,
    reply: Reply<Result<(), Error>>,
}

impl Forgotten {
    /// Reads who was forgotten, and remembers who is heard again.
    pub(crate) fn start(tasks: &mut Tasks, data_dir: &Path, peers: watch::Receiver<Peers>) -> Self {
        let path = data_dir.join(FILE);
        let known = load(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "which peers were forgotten cannot be read");
            BTreeSet::new()
        });
        let (sender, set) = watch::channel(Arc::new(known));
        let actor = Actor { path, set: sender, peers };
        let mailbox = tasks.start("forgotten", MAILBOX, |inbox, stop| actor.run(inbox, stop));
        Self { mailbox, set }
    }

    /// Gives a member up until it is heard again. It is on the disk when this returns.
    pub(crate) async fn forget(&self, peer: NodeKey, members: BTreeSet<NodeKey>) -> Result<(), Error> {
        let asked = self.mailbox.ask(|reply| Question { peer, members, reply }).await;
        asked.map_err(|_: Gone| Error::Stopped)?
    }

    /// Who is forgotten, and a way to see changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Set> {
        self.set.clone()
    }
}

#[derive(Debug)]
struct Actor {
    path: PathBuf,
    set: watch::Sender<Set>,
    peers: watch::Receiver<Peers>,
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Question>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(Question { peer, members, reply }) = inbox.recv() => {
                    // The asker may have gone.
                    reply.send(self.forget(peer, &members).await).ok();
                }
                Ok(()) = self.peers.changed() => self.heard().await,
                else => return,
            }
        }
    }

    async fn forget(&self, peer: NodeKey, members: &BTreeSet<NodeKey>) -> Result<(), Error> {
        let state = self.peers.borrow().get(&peer).map(|fact| fact.state);
        let next = forget(&self.set.borrow(), (peer, state), members)?;
        self.keep(next).await.map_err(|error| Error::Failed(error.to_string()))?;
        tracing::info!(assets_db_id = %peer.assets_db_id(), "a peer is forgotten until it is heard again");
        Ok(())
    }

    /// Who is heard again is a member like all others.
    async fn heard(&mut self) {
        let known = Arc::clone(&self.set.borrow());
        let Some(next) = remember(&known, &self.peers.borrow_and_update()) else { return };
        for peer in known.difference(&next) {
            tracing::info!(assets_db_id = %peer.assets_db_id(), "a peer that was forgotten is heard again");
        }
        if let Err(error) = self.keep(next.clone()).await {
            tracing::warn!(%error, "that a forgotten peer was heard again cannot be written down");
            self.set.send_replace(Arc::new(next));
        }
    }

    async fn keep(&self, next: BTreeSet<NodeKey>) -> io::Result<()> {
        let (path, rows) = (self.path.clone(), next.clone());
        tokio::task::spawn_blocking(move || store(&path, &rows)).await.map_err(io::Error::other)??;
        self.set.send_replace(Arc::new(next));
        Ok(())
    }
}

/// The set with one more peer in it, if that one is away.
fn forget(
    known: &BTreeSet<NodeKey>,
    (peer, state): (NodeKey, Option<PeerState>),
    members: &BTreeSet<NodeKey>,
) -> Result<BTreeSet<NodeKey>, Error> {
    match state {
        Some(state @ (PeerState::Alive | PeerState::Suspect)) => Err(Error::Present(state)),
        // One that liveness has not met yet was never heard.
        Some(PeerState::Down | PeerState::Left) | None => {
            Ok(known.intersection(members).copied().chain([peer]).collect())
        }
    }
}

/// The set without those that are heard; none if it stays as it is.
fn remember(known: &BTreeSet<NodeKey>, peers: &Peers) -> Option<BTreeSet<NodeKey>> {
    let is_heard = |key: &NodeKey| peers.get(key).is_some_and(|fact| fact.state == PeerState::Alive);
    let next: BTreeSet<NodeKey> = known.iter().filter(|key| !is_heard(key)).copied().collect();
    (next.len() < known.len()).then_some(next)
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    format: u32,
    node_keys: Vec<String>,
}

fn load(path: &Path) -> io::Result<BTreeSet<NodeKey>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let content: Content = serde_json::from_slice(&bytes)?;
    if content.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not known here", content.format)));
    }
    let key = |text: &String| text.parse().map_err(|_| io::Error::other(format!("{text:?} is no node key")));
    content.node_keys.iter().map(key).collect()
}

/// Writes under another name first, so that a crash leaves the old file or the new one.
fn store(path: &Path, set: &BTreeSet<NodeKey>) -> io::Result<()> {
    let content = Content { format: FORMAT, node_keys: set.iter().map(ToString::to_string).collect() };
    let draft = path.with_extension("json.new");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(&content)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::liveness::PeerFact;

    const AWAY: NodeKey = NodeKey([1; 32]);
    const OTHER: NodeKey = NodeKey([2; 32]);
    const WITHIN: Duration = Duration::from_secs(20);

    fn facts(states: &[(NodeKey, PeerState)]) -> Peers {
        let fact = |&(key, state): &(NodeKey, PeerState)| {
            (key, PeerFact { key, state, since: Duration::ZERO, rtt: None, last_heard: None })
        };
        Arc::new(states.iter().map(fact).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn only_who_is_away_is_forgotten_and_who_is_no_member_is_not_kept() {
        let members = BTreeSet::from([AWAY, OTHER]);
        let stranger = NodeKey([9; 32]);
        let known = BTreeSet::from([stranger, OTHER]);
        for state in [None, Some(PeerState::Down), Some(PeerState::Left)] {
            assert_eq!(forget(&known, (AWAY, state), &members), Ok(BTreeSet::from([AWAY, OTHER])));
        }
        for state in [PeerState::Alive, PeerState::Suspect] {
            assert_eq!(forget(&known, (AWAY, Some(state)), &members), Err(Error::Present(state)));
        }
    }

    #[test]
    fn who_is_heard_again_is_remembered() {
        let known = BTreeSet::from([AWAY, OTHER]);
        let states = [(AWAY, PeerState::Alive), (OTHER, PeerState::Suspect)];
        assert_eq!(remember(&known, &facts(&states)), Some(BTreeSet::from([OTHER])));
        assert_eq!(remember(&known, &facts(&[(AWAY, PeerState::Down)])), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_none_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(load(&path).unwrap(), BTreeSet::new());
        store(&path, &BTreeSet::from([AWAY])).unwrap();
        assert_eq!(load(&path).unwrap(), BTreeSet::from([AWAY]));
        let whole = fs::read(&path).unwrap();
        let other = String::from_utf8(whole.clone()).unwrap().replace("\"format\": 1", "\"format\": 2");
        let bad = String::from_utf8(whole.clone()).unwrap().replace("01", "xx");
        for bytes in [&whole[..whole.len() - 3], other.as_bytes(), bad.as_bytes(), b""] {
            fs::write(&path, bytes).unwrap();
            assert!(load(&path).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[tokio::test]
    async fn it_outlives_a_restart_and_ends_when_the_peer_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let peers = watch::Sender::new(facts(&[(AWAY, PeerState::Down), (OTHER, PeerState::Alive)]));
        let members = BTreeSet::from([AWAY, OTHER]);
        let mut tasks = Tasks::default();
        let forgotten = Forgotten::start(&mut tasks, dir.path(), peers.subscribe());
        let refused = forgotten.forget(OTHER, members.clone()).await;
        assert_eq!(refused, Err(Error::Present(PeerState::Alive)));
        forgotten.forget(AWAY, members).await.unwrap();
        assert_eq!(**forgotten.watch().borrow(), BTreeSet::from([AWAY]));
        tasks.finish().await;

        let mut tasks = Tasks::default();
        let forgotten = Forgotten::start(&mut tasks, dir.path(), peers.subscribe());
        let mut set = forgotten.watch();
        assert_eq!(**set.borrow(), BTreeSet::from([AWAY]));
        peers.send_replace(facts(&[(AWAY, PeerState::Alive), (OTHER, PeerState::Alive)]));
        tokio::time::timeout(WITHIN, set.wait_for(|set| set.is_empty())).await.unwrap().unwrap();
        tasks.finish().await;
        assert_eq!(load(&dir.path().join(FILE)).unwrap(), BTreeSet::new());
    }
}
