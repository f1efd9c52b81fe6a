//! The axum façade of a node: routes, limits, and the one place where an error becomes a status.
//! It knows nothing of how the node stores or finds anything.

mod activity;
mod answer;
mod app;
mod assets;
mod config;
mod connection;
mod descriptors;
mod disposition;
mod docs;
mod early;
mod envelope;
mod error;
mod extract;
mod federation;
mod form;
mod health;
mod metrics;
mod multipart;
mod node;
mod objects;
mod operator;
mod paced;
mod params;
mod peers;
mod probe;
mod query;
mod range;
mod registry;
mod routes;
mod schema;
mod serve;
mod socket;
mod transfers;
mod upload;

pub use config::Config;
pub use probe::Reach;
pub use routes::router;
pub use serve::serve;
