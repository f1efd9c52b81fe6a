//! Federations of whole nodes in one process.

#[cfg(test)]
mod crowd;
#[cfg(test)]
mod pruning;
