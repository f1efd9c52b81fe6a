//! The way out: every group is checked against the tree right before it leaves.

use std::ops::Range;
use std::sync::Arc;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Error;
use super::backend::{BlobNumber, Found, PIECE_NODES, Place};
use super::shared::{Reading, Shared, lock};
use super::tree::{Fault, GROUP_BYTES, NODE_BYTES, Walk, groups, hash_group};

/// Pieces of the outboard that a reader keeps: a path from the root needs a few at once.
const PIECES_KEPT: usize = 4;

/// A stored blob that is being read. While it lives, its bytes stay.
#[derive(Debug, Clone)]
pub struct Blob {
    id: AssetId,
    found: Found,
    /// It is this node's own, and not kept of another.
    is_own: bool,
    shared: Arc<Shared>,
    _reading: Arc<Reading>,
}

impl Blob {
    pub(super) fn open(shared: &Arc<Shared>, id: AssetId) -> Result<Option<Self>, Error> {
        let reading = Arc::new(Reading::begin(shared, id));
        let found = shared.backend.find(&id)?;
        Ok(found.map(|found| Self { is_own: true, ..Self::kept(shared, id, found, reading) }))
    }

    /// Content of another node, at a place that is known.
    pub(super) fn kept(shared: &Arc<Shared>, id: AssetId, found: Found, reading: Arc<Reading>) -> Self {
        Self { id, found, is_own: false, shared: Arc::clone(shared), _reading: reading }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> AssetId {
        self.id
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.found.size
    }

    /// The bytes of a range, cut to the size of the blob. Reads a few chunks ahead of the consumer, on
    /// blocking threads that it does not hold while the consumer is slow. Must be polled inside a tokio
    /// runtime. Ends after the first error.
    pub fn read(&self, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let ahead = self.shared.config.read_ahead_chunks.max(1);
        piped(Reader::new(self.clone(), range), ahead)
    }

    /// As [`Blob::read`], but with all that another needs to check the bytes against the id: before each group
    /// come the nodes of the tree on the way to it that did not come before, the outermost first. The range
    /// must begin at a group and end at one, or at the end of the blob.
    pub fn read_proven(&self, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let reader = Reader { proof: Some(Vec::new()), ..Reader::new(self.clone(), range) };
        // Many are read for at once, and the network is slower than the disk.
        piped(reader, 1)
    }
}

fn piped(reader: Reader, ahead: usize) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
    let pipe = Pipe { ready: Vec::new().into_iter(), next: Next::Here(Box::new(reader)) };
    stream::unfold(pipe, move |mut pipe| async move {
        loop {
            if let Some(item) = pipe.ready.next() {
                return Some((item, pipe));
            }
            let (items, reader) = match pipe.next {
                Next::Here(reader) => spawn_blocking(move || reader.run(1)).await,
                Next::Running(job) => job.await,
                Next::Done => return None,
            }
            .unwrap_or_else(|_| (vec![Err(Error::Stopped)], None));
            pipe.ready = items.into_iter();
            pipe.next = match reader {
                Some(reader) => Next::Running(spawn_blocking(move || reader.run(ahead))),
                None => Next::Done,
            };
        }
    })
}

type Items = Vec<Result<Bytes, Error>>;

/// The consumer's end: what is ready, and the job that makes more.
struct Pipe {
    ready: std::vec::IntoIter<Result<Bytes, Error>>,
    next: Next,
}

enum Next {
    Here(Box<Reader>),
    Running(JoinHandle<(Items, Option<Box<Reader>>)>),
    Done,
}

/// Reads one range, chunk by chunk. Blocking.
#[derive(Debug)]
pub(super) struct Reader {
    blob: Blob,
    range: Range<u64>,
    walk: Walk,
    pieces: Vec<(u32, Bytes)>,
    /// The nodes that were walked through since the last chunk, each with the offset of the group it leads to;
    /// `None` if nobody asks for them.
    proof: Option<Vec<(u64, [u8; NODE_BYTES])>>,
}

impl Reader {
    pub(super) fn new(blob: Blob, range: Range<u64>) -> Self {
        let end = range.end.min(blob.size());
        let range = range.start.min(end)..end;
        let wanted = range.start / GROUP_BYTES as u64..groups(range.end);
        let walk = Walk::new(*blob.id.as_bytes(), blob.size(), wanted);
        Self { blob, range, walk, pieces: Vec::new(), proof: None }
    }

    /// Reads up to `count` chunks, and gives itself back if there is more.
    fn run(mut self: Box<Self>, count: usize) -> (Items, Option<Box<Self>>) {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            match self.next() {
                None => return (items, None),
                Some(Ok(bytes)) => self.add(bytes, &mut items),
                Some(Err(error)) => {
                    items.push(Err(error));
                    return (items, None);
                }
            }
        }
        (items, Some(self))
    }

    /// Puts each node of the proof before the group it leads to.
    fn add(&mut self, mut bytes: Bytes, items: &mut Items) {
        let mut at = self.range.start - bytes.len() as u64;
        for (offset, node) in self.proof.iter_mut().flat_map(|proof| proof.drain(..)) {
            if offset > at {
                items.push(Ok(bytes.split_to((offset - at) as usize)));
                at = offset;
            }
            items.push(Ok(Bytes::copy_from_slice(&node)));
        }
        items.push(Ok(bytes));
    }

    /// The next bytes, verified.
    pub(super) fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.range.is_empty() {
            return None;
        }
        let outcome = match self.blob.found.place {
            Place::Small => self.small(self.blob.shared.backend.small(&self.blob.id)),
            Place::Single(number) => {
                let chunk = self.blob.shared.backend.chunk(number, 0);
                self.small(chunk.map(|chunk| chunk.map(|(_, bytes)| bytes)))
            }
            Place::Large(number) => self.chunk(number),
        };
        match &outcome {
            Ok(bytes) => {
                self.range.start += bytes.len() as u64;
                self.blob.shared.metrics.left(bytes.len() as u64);
            }
            Err(Error::Damaged { .. }) => {
                self.blob.shared.metrics.met_damage();
                if self.blob.is_own {
                    lock(&self.blob.shared.damaged).insert(self.blob.id);
                }
            }
            Err(_) => {}
        }
        Some(outcome)
    }

    fn damaged(&self, offset: u64) -> Error {
        Error::Damaged { id: self.blob.id, offset }
    }

    /// What a damaged page of the database means for this blob.
    fn read<T>(&self, offset: u64, read: Result<Option<T>, Error>) -> Result<T, Error> {
        match read {
            Ok(Some(value)) => Ok(value),
            Ok(None) | Err(Error::Corrupt(_)) => Err(self.damaged(offset)),
            Err(other) => Err(other),
        }
    }

    fn small(&self, content: Result<Option<Bytes>, Error>) -> Result<Bytes, Error> {
        let blob = &self.blob;
        let content = self.read(0, content)?;
        if AssetId::of(&content) != blob.id {
            return Err(self.damaged(0));
        }
        blob.shared.metrics.verified(content.len() as u64);
        Ok(content.slice(self.range.start as usize..self.range.end as usize))
    }

    fn chunk(&mut self, number: BlobNumber) -> Result<Bytes, Error> {
        let size = self.blob.size();
        let group = self.range.start / GROUP_BYTES as u64;
        let offset = group * GROUP_BYTES as u64;
        let found = u32::try_from(group)
            .map_err(|_| self.damaged(offset))
            .and_then(|group| self.read(offset, self.blob.shared.backend.chunk(number, group)));
        let (first_group, chunk) = found?;
        let start = u64::from(first_group) * GROUP_BYTES as u64;
        let chunk_end = start + chunk.len() as u64;
        let is_whole = chunk.len().is_multiple_of(GROUP_BYTES) || chunk_end == size;
        if !is_whole || chunk_end <= offset {
            return Err(self.damaged(offset));
        }
        let end = self.range.end.min(chunk_end);
        for _ in group..groups(end) {
            self.verify(number, start, &chunk)?;
        }
        Ok(chunk.slice((self.range.start - start) as usize..(end - start) as usize))
    }

    /// Checks the next group of the walk, which lies in `chunk`.
    fn verify(&mut self, number: BlobNumber, start: u64, chunk: &[u8]) -> Result<(), Error> {
        let Self { blob, walk, pieces, proof, .. } = self;
        let mut passed = Vec::new();
        let step = walk.next(|number_of_node| {
            let node = load(blob, pieces, number, number_of_node)?;
            if proof.is_some() {
                passed.push(node);
            }
            Ok(node)
        });
        let (group, wanted) = match step {
            Ok(Some(step)) => step,
            Ok(None) => return Err(self.damaged(start)),
            Err(Fault::Node(group)) => return Err(self.damaged(group * GROUP_BYTES as u64)),
            Err(Fault::Load(error)) => return self.read(start, Err(error)),
        };
        let offset = group * GROUP_BYTES as u64;
        if let Some(proof) = &mut self.proof {
            proof.extend(passed.into_iter().map(|node| (offset, node)));
        }
        let bytes = chunk.get((offset - start) as usize..).ok_or_else(|| self.damaged(offset))?;
        let bytes = &bytes[..bytes.len().min(GROUP_BYTES)];
        if hash_group(group, bytes) != wanted {
            return Err(self.damaged(offset));
        }
        self.blob.shared.metrics.verified(bytes.len() as u64);
        Ok(())
    }
}

/// Reads one node of the outboard, by way of the pieces that were read last.
fn load(
    blob: &Blob,
    pieces: &mut Vec<(u32, Bytes)>,
    number: BlobNumber,
    node: u64,
) -> Result<[u8; NODE_BYTES], Error> {
    let absent = || Error::Corrupt(format!("node {node} of an outboard is absent").into());
    let index = u32::try_from(node / PIECE_NODES as u64).map_err(|_| absent())?;
    if !pieces.iter().any(|(kept, _)| *kept == index) {
        let piece = blob.shared.backend.piece(number, index)?.ok_or_else(absent)?;
        pieces.truncate(PIECES_KEPT - 1);
        pieces.insert(0, (index, piece));
    }
    let piece = pieces.iter().find(|(kept, _)| *kept == index).map(|(_, piece)| piece);
    let at = (node % PIECE_NODES as u64) as usize * NODE_BYTES;
    let bytes = piece.and_then(|piece| piece.get(at..at + NODE_BYTES)).ok_or_else(absent)?;
    bytes.try_into().map_err(|_| absent())
}
