//! Bytes that need not be kept: a seed and a size say all of them.

use std::fmt;

/// Content that can be made again at any time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// Which bytes.
    pub seed: u64,
    /// How many bytes.
    pub size: usize,
}

impl Content {
    /// The bytes themselves: the extended output of BLAKE3 over the seed.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The bytes, a MiB at a time.
    pub fn pieces(self) -> impl Iterator<Item = Vec<u8>> {
        const PIECE: usize = 1 << 20;
        let mut reader = blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof();
        (0..self.size).step_by(PIECE).map(move |at| {
            let mut piece = vec![0; PIECE.min(self.size - at)];
            reader.fill(&mut piece);
            piece
        })
    }

    /// The asset id that a node must give these bytes.
    #[must_use]
    pub fn id(self) -> String {
        let mut hasher = blake3::Hasher::new();
        for piece in self.pieces() {
            hasher.update(&piece);
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of seed {}", self.size, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_and_size_decide_the_bytes() {
        let content = Content { seed: 3, size: 100 };
        assert_eq!(content.bytes(), content.bytes());
        assert_eq!(content.bytes().len(), 100);
        assert_ne!(content.bytes(), Content { seed: 4, size: 100 }.bytes());
        assert_eq!(content.id().len(), 64);
        for size in [0, 1, 1 << 20, (2 << 20) + 3] {
            let content = Content { seed: 3, size };
            assert!(content.pieces().flatten().eq(content.bytes()), "{size}");
            assert_eq!(content.id(), blake3::hash(&content.bytes()).to_hex().to_string());
        }
    }
}
