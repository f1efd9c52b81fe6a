//! Invocations on a real node, with a container that the test plays.

mod calls;
mod crash;
mod endings;
mod many;
mod polling;
mod setup;
mod worker;
