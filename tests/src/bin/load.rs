//! Load for measurements against a running node. Prints `name=value` pairs, for scripts/bench.sh.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use assetmesh_tests::{
    Federated, batch_filter, document, load_documents, time_federated, time_queries, upload_small,
};
use clap::{Parser, Subcommand};
use serde_json::Value;

/// Puts load on a running node and prints what it measured.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Small uploads by many clients.
    Small {
        /// Host and port of the node.
        #[arg(long)]
        node: SocketAddr,
        /// How many at once.
        #[arg(long, default_value_t = 64)]
        clients: u64,
        /// Size of each upload.
        #[arg(long, default_value_t = 4096)]
        bytes: usize,
        /// How long.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Another number for each run against one node.
        #[arg(long, default_value_t = 1)]
        run: u64,
    },
    /// Many external assets, as documents.
    Documents {
        /// Host and port of the node. Without it the documents are printed, one a line.
        #[arg(long)]
        node: Option<SocketAddr>,
        /// The first.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
        /// How many clients at once.
        #[arg(long, default_value_t = 64)]
        clients: u64,
        /// A rate is printed for each of this many.
        #[arg(long, default_value_t = 100_000)]
        window: u64,
    },
    /// Queries, one after the other over one connection.
    Query {
        /// Host and port of the node.
        #[arg(long)]
        node: SocketAddr,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        rounds: u64,
        /// How many documents there are, for the query of 100 rows by an indexed field.
        #[arg(long, default_value_t = 1_000_000)]
        documents: u64,
        /// This filter each time, instead of the one of 100 rows.
        #[arg(long)]
        filter: Option<String>,
    },
    /// Queries of a whole federation, which is started for it, beside those of each node alone.
    Federated {
        /// How many nodes.
        #[arg(long, default_value_t = 8)]
        nodes: usize,
        /// How many documents they hold together.
        #[arg(long, default_value_t = 80_000)]
        documents: u64,
        /// How many queries.
        #[arg(long, default_value_t = 1000)]
        rounds: u64,
    },
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> Result<()> {
    match Arguments::parse().load {
        Load::Small { node, clients, bytes, seconds, run } => {
            let lasting = Duration::from_secs(seconds);
            println!("{}", upload_small(node, clients, bytes, lasting, run)?);
        }
        Load::Documents { node: Some(node), from, count, clients, window } => {
            load_documents(node, clients, from..from + count, window, |progress| {
                println!("stored={} rate={:.0}", progress.stored, progress.rate);
            })?;
        }
        Load::Documents { node: None, from, count, .. } => print_documents(from..from + count)?,
        Load::Query { node, rounds, documents, filter: None } => {
            let filter = |round| batch_filter(round, documents);
            println!("{}", time_queries(node, rounds, Some(100), filter)?);
        }
        Load::Federated { nodes, documents, rounds } => {
            let Federated { everywhere, slowest_alone } = time_federated(nodes, documents, rounds)?;
            println!("everywhere: {everywhere}");
            println!("slowest alone: {slowest_alone}");
        }
        Load::Query { node, rounds, filter: Some(filter), .. } => {
            let filter: Value = serde_json::from_str(&filter).context("--filter")?;
            println!("{}", time_queries(node, rounds, None, |_| filter.clone())?);
        }
    }
    Ok(())
}

fn print_documents(numbers: std::ops::Range<u64>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for number in numbers {
        writeln!(out, "{}", document(number))?;
    }
    out.flush().context("write the documents")
}
