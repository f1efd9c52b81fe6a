//! Rules that are broken on purpose: a simulator that finds nothing wrong with them proves nothing.

use std::time::Duration;

use assetmesh_node::liveness;
use assetmesh_node::registry::Rules;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// Nothing.
    #[default]
    None,
    /// Of two texts under one version each node keeps the one that it met first.
    TieBreak,
    /// A tombstone dies at once, instead of living as long as what it replaces.
    Tombstone,
    /// Who is silent for two seconds is given up without waiting for anybody's answer.
    Haste,
}

impl Control {
    pub(super) fn rules(self) -> Rules {
        let rules = Rules::default();
        match self {
            Self::None | Self::Haste => rules,
            Self::TieBreak => Rules { supersedes: |new, old| new.version() > old.version(), ..rules },
            Self::Tombstone => Rules {
                ttl_ms: |life| if life.deletes { 1 } else { (Rules::default().ttl_ms)(life) },
                ..rules
            },
        }
    }

    pub(super) fn liveness(self, config: liveness::Config) -> liveness::Config {
        let soon = Duration::from_millis(1);
        match self {
            Self::Haste => liveness::Config {
                pause: Duration::ZERO,
                monitors_pause: Duration::ZERO,
                round: soon,
                down_after: soon,
                refute_within: soon,
                hold: soon,
                ..config
            },
            _ => config,
        }
    }
}

impl std::str::FromStr for Control {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self::None),
            "tie-break" => Ok(Self::TieBreak),
            "tombstone" => Ok(Self::Tombstone),
            "haste" => Ok(Self::Haste),
            other => Err(format!("`{other}` is none of none, tie-break, tombstone, haste")),
        }
    }
}
