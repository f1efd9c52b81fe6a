//! Tells liveness who the members are, as the registry knows them: the one piece between the two. It decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use tokio::sync::watch;

use crate::actor::Tasks;
use crate::registry::Registry;

/// Follows the registry. The watch changes only when a member comes or goes.
pub(crate) fn start(tasks: &mut Tasks, registry: &Registry) -> watch::Receiver<Arc<BTreeSet<NodeKey>>> {
    let (sender, members) = watch::channel(Arc::new(registry.member_keys()));
    let registry = registry.clone();
    tasks.run("members", |stop| async move {
        let mut changes = registry.changes();
        while stop.run_until_cancelled(changes.next()).await == Some(true) {
            let now = registry.member_keys();
            sender.send_if_modified(|known| {
                let is_new = **known != now;
                if is_new {
                    *known = Arc::new(now);
                }
                is_new
            });
        }
    });
    members
}
