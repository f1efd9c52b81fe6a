//! A Bloom filter (Bloom 1970) of a power of two of bits. The places of a token are made of its two halves, as in
//! Kirsch and Mitzenmacher, "Less hashing, same performance" (2006).

/// Bits of one token: the best number at six bits a token, and few to look up.
const PLACES: u32 = 4;

const WORD_BITS: u32 = 64;
const WORD_BYTES: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// As many bits as two to the power of `size`, none of them set.
    pub(super) fn new(size: u8) -> Self {
        Self { words: vec![0; 1 << (u32::from(size) - WORD_BITS.trailing_zeros())] }
    }

    /// True if the token, or others with the same bits, was not there.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        let mut is_news = false;
        for (word, bit) in places(self.words.len(), hash) {
            is_news |= self.words[word] & bit == 0;
            self.words[word] |= bit;
        }
        is_news
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        places(self.words.len(), hash).all(|(word, bit)| self.words[word] & bit != 0)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.words.len() * WORD_BYTES
    }

    pub(super) const fn len(&self) -> u64 {
        self.words.len() as u64 * WORD_BITS as u64
    }

    /// The bytes of one part, the lowest bit of each word first. Empty behind the end.
    pub(super) fn part(&self, at: usize, bytes: usize) -> Vec<u8> {
        let words = bytes / WORD_BYTES;
        let part = self.words.iter().skip(at.saturating_mul(words)).take(words);
        part.flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Takes the bytes of a part; those of half a word at the end are left out.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<WORD_BYTES>();
        self.words.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
    }

    /// Bits to be filled by [`Bits::extend`].
    pub(super) const fn unfilled() -> Self {
        Self { words: Vec::new() }
    }
}

/// The word and the bit in it of each place.
fn places(words: usize, hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let mask = words as u32 * WORD_BITS - 1;
    let (first, step) = (hash as u32, (hash >> 32) as u32 | 1);
    (0..PLACES).map(move |at| {
        let place = first.wrapping_add(step.wrapping_mul(at)) & mask;
        ((place / WORD_BITS) as usize, 1 << (place % WORD_BITS))
    })
}
