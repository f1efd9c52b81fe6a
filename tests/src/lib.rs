//! What the process tests and the fault runs share: starting nodes, talking to them over raw HTTP,
//! breaking them, and judging what they answer; and the simulator. Only the simulator links the node, and of it only
//! the pure cores: everywhere else a node is a process.

mod api;
mod binary;
mod cluster;
mod container;
mod content;
mod contention;
mod crash;
mod flips;
mod http;
mod invocations;
mod linear;
mod load;
mod node_process;
mod random;
mod report;
mod sim;
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
pub use http::request::{Method, Request, encode_segment};
pub use http::response::Response;
pub use http::{Client, Connection, multipart};
pub use invocations::{InvocationPlan, run_invocations};
pub use linear::{Call, Effect, linearize};
pub use load::documents::{batch_filter, document};
pub use load::{Measured, Progress, load_documents, time_queries, upload_small};
pub use node_process::{NodeOptions, NodeProcess, StartError};
pub use random::Random;
pub use report::Report;
pub use sim::{Control, Scenario, SimPlan, run_sim};
pub use volume::{Ext4, Tmpfs};
pub use wait::wait_until;
