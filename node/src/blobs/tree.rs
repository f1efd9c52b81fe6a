//! The hash tree of a blob over groups of 16 KiB: made while the content arrives, walked while it leaves.
//!
//! The outboard is the list of inner nodes in post-order, each the 64 bytes of its two children: the
//! format of the bao-tree crate at chunk log 4, which a test holds. Post-order only ever grows at the end,
//! so an outboard is written while its content is still arriving.
//! Source: the BLAKE3 paper, section 2.1 (a left subtree is the largest power of two that leaves a rest).

use std::ops::Range;

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes of one group: the unit that is verified.
pub(crate) const GROUP_BYTES: usize = 16 << 10;
/// Bytes of one inner node.
pub(crate) const NODE_BYTES: usize = 64;

/// A node of an outboard, by its place.
pub(crate) type Node = (u64, [u8; NODE_BYTES]);

/// The number of groups of content of `size` bytes.
pub(crate) fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES as u64)
}

/// Hashes one group of a blob that has at least two.
pub(crate) fn hash_group(number: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(number * GROUP_BYTES as u64);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// Makes the tree of content that arrives group by group.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// Roots of the subtrees that are whole, the largest first.
    stack: Vec<ChainingValue>,
    groups: u64,
    nodes: Vec<u8>,
}

impl Builder {
    /// Takes the next group; only the last may be short.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Merged only now that more is known to follow: the last merge of all is another one.
        while self.stack.len() > self.groups.count_ones() as usize {
            self.merge();
        }
        self.stack.push(hash_group(self.groups, bytes));
        self.groups += 1;
    }

    fn merge(&mut self) {
        if let Some((left, right)) = self.take_pair() {
            self.stack.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }

    fn take_pair(&mut self) -> Option<(ChainingValue, ChainingValue)> {
        let right = self.stack.pop()?;
        let left = self.stack.pop()?;
        self.nodes.extend_from_slice(&left);
        self.nodes.extend_from_slice(&right);
        Some((left, right))
    }

    /// How many groups it has taken.
    pub(crate) fn groups(&self) -> u64 {
        self.groups
    }

    /// Nodes that are final and not yet taken.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len() / NODE_BYTES
    }

    /// Takes the first `count` nodes.
    pub(crate) fn take_nodes(&mut self, count: usize) -> Vec<u8> {
        let rest = self.nodes.split_off(count * NODE_BYTES);
        std::mem::replace(&mut self.nodes, rest)
    }

    /// The root of at least two groups. The last nodes can be taken then.
    pub(crate) fn finish(&mut self) -> Option<blake3::Hash> {
        while self.stack.len() > 2 {
            self.merge();
        }
        let (left, right) = self.take_pair()?;
        Some(merge_subtrees_root(&left, &right, Mode::Hash))
    }
}

/// A subtree that is known by its hash.
#[derive(Debug)]
struct Subtree {
    groups: Range<u64>,
    /// The place of its first node in the outboard.
    first_node: u64,
    hash: ChainingValue,
    is_root: bool,
}

impl Subtree {
    fn leaves(&self) -> u64 {
        self.groups.end - self.groups.start
    }
}

/// Goes down from the root to groups, left to right, and trusts nothing on the way.
#[derive(Debug)]
pub(crate) struct Walk {
    stack: Vec<Subtree>,
    wanted: Range<u64>,
}

/// What a walk comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It needs this node of the outboard to go on: see [`Walk::open`].
    Node(u64),
    /// The next wanted group, and the hash it must have.
    Group(u64, ChainingValue),
    /// No wanted group is left.
    End,
}

/// Why a walk ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault<E> {
    /// A node does not hash to what its parent says; its first group.
    Node(u64),
    /// The node could not be read.
    Load(E),
}

/// A node that does not hash to what its parent says; its first group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FalseNode(pub(crate) u64);

impl Walk {
    /// Starts at the root of a blob of `size` bytes, which has at least two groups.
    pub(crate) fn new(root: [u8; 32], size: u64, wanted: Range<u64>) -> Self {
        let root = Subtree { groups: 0..groups(size), first_node: 0, hash: root, is_root: true };
        Self { stack: vec![root], wanted }
    }

    /// The next wanted group and the hash it must have. `load` gives a node of the outboard.
    pub(crate) fn next<E>(
        &mut self,
        mut load: impl FnMut(u64) -> Result<[u8; NODE_BYTES], E>,
    ) -> Result<Option<(u64, ChainingValue)>, Fault<E>> {
        loop {
            match self.step() {
                Step::Group(group, hash) => return Ok(Some((group, hash))),
                Step::End => return Ok(None),
                Step::Node(number) => {
                    let node = load(number).map_err(Fault::Load)?;
                    self.open(&node).map_err(|FalseNode(group)| Fault::Node(group))?;
                }
            }
        }
    }

    /// Goes on as far as it can without another node.
    pub(crate) fn step(&mut self) -> Step {
        while let Some(top) = self.stack.pop() {
            if top.groups.start >= self.wanted.end || top.groups.end <= self.wanted.start {
                continue;
            }
            if top.leaves() == 1 {
                return Step::Group(top.groups.start, top.hash);
            }
            let node = top.first_node + top.leaves() - 2;
            self.stack.push(top);
            return Step::Node(node);
        }
        Step::End
    }

    /// Takes the node that [`Walk::step`] asked for.
    pub(crate) fn open(&mut self, node: &[u8; NODE_BYTES]) -> Result<(), FalseNode> {
        let Some(parent) = self.stack.pop() else { return Ok(()) };
        self.split(&parent, node).ok_or(FalseNode(parent.groups.start))
    }

    fn split(&mut self, parent: &Subtree, node: &[u8; NODE_BYTES]) -> Option<()> {
        let (left, right) = node.split_at(NODE_BYTES / 2);
        let (left, right): (ChainingValue, ChainingValue) = (left.try_into().ok()?, right.try_into().ok()?);
        let hash = match parent.is_root {
            true => *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes(),
            false => merge_subtrees_non_root(&left, &right, Mode::Hash),
        };
        if hash != parent.hash {
            return None;
        }
        let left_leaves = 1 << (parent.leaves() - 1).ilog2();
        let middle = parent.groups.start + left_leaves;
        let first_node = parent.first_node + left_leaves - 1;
        self.stack.push(Subtree {
            groups: middle..parent.groups.end,
            first_node,
            hash: right,
            is_root: false,
        });
        self.stack.push(Subtree {
            groups: parent.groups.start..middle,
            first_node: parent.first_node,
            hash: left,
            is_root: false,
        });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use bao_tree::BlockSize;
    use bao_tree::io::outboard::PostOrderMemOutboard;

    use super::*;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    fn build(content: &[u8]) -> (blake3::Hash, Vec<u8>) {
        let mut builder = Builder::default();
        content.chunks(GROUP_BYTES).for_each(|group| builder.push(group));
        let root = builder.finish().unwrap();
        let count = builder.nodes();
        (root, builder.take_nodes(count))
    }

    fn sizes() -> impl Iterator<Item = usize> {
        let around =
            |groups: usize| [groups * GROUP_BYTES - 1, groups * GROUP_BYTES, groups * GROUP_BYTES + 1];
        [2, 3, 4, 5, 7, 8, 9, 31, 63, 64, 65].into_iter().flat_map(around)
    }

    #[test]
    fn the_outboard_is_the_one_of_bao_tree_and_the_root_is_blake3() {
        for size in sizes() {
            let content = content(size);
            let (root, nodes) = build(&content);
            assert_eq!(root, blake3::hash(&content), "{size} bytes");
            let theirs = PostOrderMemOutboard::create(&content, BlockSize::from_chunk_log(4));
            assert_eq!(nodes, theirs.data, "{size} bytes");
        }
    }

    #[test]
    fn every_range_walks_to_the_right_groups() {
        for size in sizes().filter(|size| *size < 12 * GROUP_BYTES) {
            let content = content(size);
            let (root, nodes) = build(&content);
            let all = groups(size as u64);
            for (start, end) in (0..all).flat_map(|start| (start..=all).map(move |end| (start, end))) {
                let mut walk = Walk::new(*root.as_bytes(), size as u64, start..end);
                for group in start..end {
                    let (found, hash) = walk.next(|node| load(&nodes, node)).unwrap().unwrap();
                    let bytes = content.chunks(GROUP_BYTES).nth(group as usize).unwrap();
                    assert_eq!((found, hash), (group, hash_group(group, bytes)));
                }
                assert_eq!(walk.next(|node| load(&nodes, node)).unwrap(), None);
            }
        }
    }

    fn load(nodes: &[u8], node: u64) -> Result<[u8; NODE_BYTES], ()> {
        nodes.chunks(NODE_BYTES).nth(node as usize).ok_or(())?.try_into().map_err(|_| ())
    }

    #[test]
    fn each_flipped_bit_of_an_outboard_is_found() {
        let size = 9 * GROUP_BYTES + 5;
        let (root, nodes) = build(&content(size));
        for byte in 0..nodes.len() {
            let mut nodes = nodes.clone();
            nodes[byte] ^= 1 << (byte % 8);
            let mut walk = Walk::new(*root.as_bytes(), size as u64, 0..10);
            let outcome = loop {
                match walk.next(|node| load(&nodes, node)) {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            assert!(matches!(outcome, Err(Fault::Node(_))), "byte {byte}");
        }
    }

    #[test]
    fn one_group_at_the_end_needs_only_its_path() {
        let size = 1_000 * GROUP_BYTES as u64;
        let (root, nodes) = build(&content(size as usize));
        let mut loads = 0;
        let mut walk = Walk::new(*root.as_bytes(), size, 999..1_000);
        walk.next(|node| {
            loads += 1;
            load(&nodes, node)
        })
        .unwrap()
        .unwrap();
        assert!(loads <= 10, "{loads} nodes");
    }
}
