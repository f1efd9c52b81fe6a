//! NVCF.

pub(crate) mod invoke;
