//! What the process tests and the fault runs share: starting nodes, talking to them over raw HTTP,
//! breaking them, and judging what they answer; and the simulator. Two things link the node: the simulator its pure
//! cores, and a lying peer all of it, to be a peer. Everywhere else a node is a process.

mod api;
mod binary;
mod cluster;
pub mod conformance;
mod container;
mod content;
mod contention;
mod crash;
mod download;
mod flips;
mod herd;
mod http;
mod invocations;
mod linear;
mod load;
mod metronome;
mod node_process;
mod oracle;
mod random;
mod report;
mod rogues;
mod sim;
mod soak;
mod transfers;
mod union;
mod voices;
mod volume;
mod wait;

pub use api::{Api, description_of};
pub use binary::binary;
pub use cluster::Cluster;
pub use container::{Container, Invoked};
pub use content::Content;
pub use contention::Contention;
pub use crash::{CrashPlan, Disk, run_crashes};

pub use flips::{FlipPlan, run_flips};
pub use herd::{HerdPlan, run_herd};
pub use http::request::{Method, Request, encode_segment};
pub use http::response::Response;
pub use http::{Client, Connection, multipart};
pub use invocations::{InvocationPlan, run_invocations};
pub use linear::{Call, Effect, linearize};
pub use load::documents::{batch_filter, document};
pub use load::federated::{Federated, time_federated};
pub use load::{Measured, Progress, load_documents, time_queries, upload_small};
pub use node_process::{NodeOptions, NodeProcess, StartError};
pub use random::Random;
pub use report::Report;
pub use rogues::{Manner, RoguesPlan, run_rogues};
pub use sim::{Control, Scenario, SimPlan, run_sim};
pub use soak::{SoakPlan, run_soak};
pub use transfers::{TransferPlan, run_transfers};
pub use union::{UnionPlan, run_union};
pub use voices::{VoicesPlan, run_voices};
pub use volume::{Ext4, Tmpfs};
pub use wait::wait_until;
