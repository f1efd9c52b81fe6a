//! Federations of whole nodes in one process.

#[cfg(test)]
mod pruning;
