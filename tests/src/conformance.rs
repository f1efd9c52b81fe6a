//! The filter cases of `tests/data/mongo`, and what moves them from a document to the description of an asset.

pub mod cases;
pub mod prefix;
