//! The decisions of the swarm, as inputs and outputs.
