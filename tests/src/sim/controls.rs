//! Rules that are broken on purpose: a simulator that finds nothing wrong with them proves nothing.

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
}

impl Control {
    pub(super) fn rules(self) -> Rules {
        let rules = Rules::default();
        match self {
            Self::None => rules,
            Self::TieBreak => Rules { supersedes: |new, old| new.version() > old.version(), ..rules },
            Self::Tombstone => Rules {
                ttl_ms: |life| if life.deletes { 1 } else { (Rules::default().ttl_ms)(life) },
                ..rules
            },
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
            other => Err(format!("`{other}` is none of none, tie-break, tombstone")),
        }
    }
}
