//! The registry: who the members are and what their users registered, the same on every node. Each envelope is
//! signed by its owner and only its owner changes it; no node decides for another.

mod bounds;
mod map;
mod rules;
mod state;
pub mod sync;
mod versions;

pub use bounds::{Bound, Bounds};
pub use map::Map;
pub use rules::{Lifetime, Rules};
pub use state::{
    Asker, Change, Input, Origin, Output, Refusal, State, StateConfig, Taken, Timing, Way, Write, WriteError,
};

#[cfg(test)]
mod test_kit;
