//! Room for connections: the soft limit on open files is often 1024, fewer than the connection cap.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files and sockets that are no client connections: stores, logs, listeners, peers.
const OTHERS: u64 = 512;

/// Raises the soft limit towards `connections` and some more; never above the hard limit.
pub(crate) fn make_room_for(connections: usize) {
    let wanted = (connections as u64).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raise(limit, wanted) else {
        return;
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, wanted, "the limit on open files stays low");
    }
}

/// The limit to set, if it must change.
fn raise(limit: Rlimit, wanted: u64) -> Option<Rlimit> {
    let current = limit.current?;
    let target = limit.maximum.map_or(wanted, |hard| wanted.min(hard));
    (current < target).then_some(Rlimit { current: Some(target), maximum: limit.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_only_as_far_as_needed_and_allowed() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(raise(limit(Some(1024), Some(4096)), 2000), Some(limit(Some(2000), Some(4096))));
        assert_eq!(raise(limit(Some(1024), Some(1500)), 2000), Some(limit(Some(1500), Some(1500))));
        assert_eq!(raise(limit(Some(1024), None), 2000), Some(limit(Some(2000), None)));
        assert_eq!(raise(limit(Some(4096), Some(4096)), 2000), None);
        assert_eq!(raise(limit(None, None), 2000), None);
    }
}
