//! The `assetmesh` binary: parses the command line and calls one verb. It holds no logic of a node.

mod arenas;
mod args;
mod client;
mod edits;
mod exit;
mod output;
mod settings;
mod value;
mod verbs;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

use crate::args::{
    Cli, ClientArgs, NodeVerb, OutputArgs, PeersArgs, PeersVerb, RegistryVerb, TokenVerb, Verb, WorkerVerb,
};
use crate::client::Client;
use crate::output::{Output, complain};
use crate::settings::Layers;

fn main() -> ExitCode {
    let Err(error) = run(Cli::parse().verb) else { return ExitCode::SUCCESS };
    match exit::code_of(&error) {
        None => ExitCode::SUCCESS,
        Some(exit) => {
            complain(format_args!("assetmesh: {error:#}"));
            exit.into()
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Node { verb: NodeVerb::Run(args) } => {
            arenas::bound();
            let settings = Layers::read(args.config.config.as_deref(), &variable)?.node(&args)?;
            block_on(verbs::node::run(settings))
        }
        Verb::Worker { verb: WorkerVerb::Run(args) } => {
            arenas::bound();
            let settings = Layers::read(args.config.config.as_deref(), &variable)?.worker(&args)?;
            block_on(verbs::worker::run(settings))
        }
        Verb::Upload(args) => {
            ask(&args.client, &args.output, async |c, o| verbs::upload::run(&args, c, o).await)
        }
        Verb::Download(args) => {
            ask(&args.client, &args.output, async |c, o| verbs::download::run(&args, c, o).await)
        }
        Verb::Ls(args) => ask(&args.client, &args.output, async |c, o| verbs::ls::run(&args, c, o).await),
        Verb::Query(args) => {
            ask(&args.client, &args.output, async |c, o| verbs::query::run(&args, c, o).await)
        }
        Verb::Show(args) => ask(&args.client, &args.output, async |c, o| verbs::show::run(&args, c, o).await),
        Verb::Update(args) => {
            ask(&args.client, &args.output, async |c, o| verbs::update::run(&args, c, o).await)
        }
        Verb::Rm(args) => ask(&args.client, &args.output, async |c, o| verbs::rm::run(&args, c, o).await),
        Verb::Peers(args) => peers(&args),
        Verb::Registry { verb } => registry(&verb),
        Verb::Token { verb } => token(&verb),
        Verb::Filter(args) => verbs::filter::run(&args),
        Verb::Verify(args) if args.client.node.is_some() => {
            ask(&args.client, &args.output, async |c, o| verbs::verify::ask(c, o).await)
        }
        Verb::Verify(args) => {
            let layers = Layers::read(args.client.config.config.as_deref(), &variable)?;
            let data_dir = layers.data_dir(args.data_dir.clone())?;
            block_on(verbs::verify::run(&args, &data_dir))
        }
        Verb::Completion { shell } => verbs::completion::run(shell),
    }
}

fn peers(args: &PeersArgs) -> anyhow::Result<()> {
    match &args.verb {
        None => ask(&args.client, &args.output, async |c, o| verbs::peers::list(c, o).await),
        Some(PeersVerb::Block(args)) => {
            ask(&args.client, &args.output, async |c, o| verbs::peers::block(args, c, o).await)
        }
        Some(PeersVerb::Unblock(args)) => {
            ask(&args.client, &args.output, async |c, o| verbs::peers::unblock(args, c, o).await)
        }
        Some(PeersVerb::Forget(args)) => {
            ask(&args.client, &args.output, async |c, o| verbs::peers::forget(args, c, o).await)
        }
    }
}

fn registry(verb: &RegistryVerb) -> anyhow::Result<()> {
    use verbs::registry;
    match verb {
        RegistryVerb::Ls(args) => {
            ask(&args.client, &args.output, async |c, o| registry::list(args, c, o).await)
        }
        RegistryVerb::Show(args) => {
            ask(&args.client, &args.output, async |c, o| registry::show(args, c, o).await)
        }
        RegistryVerb::Add(args) => {
            ask(&args.client, &args.output, async |c, o| registry::add(args, c, o).await)
        }
        RegistryVerb::Update(args) => {
            ask(&args.client, &args.output, async |c, o| registry::update(args, c, o).await)
        }
        RegistryVerb::Rm(args) => {
            ask(&args.client, &args.output, async |c, o| registry::remove(args, c, o).await)
        }
        RegistryVerb::Health(args) => {
            ask(&args.client, &args.output, async |c, o| registry::health(args, c, o).await)
        }
    }
}

fn token(verb: &TokenVerb) -> anyhow::Result<()> {
    let office = match verb {
        TokenVerb::Create(args) => &args.office,
        TokenVerb::Ls(args) => &args.office,
        TokenVerb::Revoke(args) => &args.office,
    };
    let layers = Layers::read(office.config.config.as_deref(), &variable)?;
    let data_dir = layers.data_dir(office.data_dir.clone())?;
    match verb {
        TokenVerb::Create(args) => {
            verbs::token::create(args, &data_dir, layers.network(args.network.clone())?)
        }
        TokenVerb::Ls(args) => verbs::token::list(args, &data_dir),
        TokenVerb::Revoke(args) => verbs::token::revoke(args, &data_dir),
    }
}

/// Runs a verb that talks to a node.
fn ask(
    client: &ClientArgs,
    output: &OutputArgs,
    verb: impl AsyncFnOnce(&Client, Output) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let settings = Layers::read(client.config.config.as_deref(), &variable)?.client(client)?;
    let client = Client::new(&settings)?;
    block_on(verb(&client, output.into()))
}

/// Runs one future to its end. What it left behind, such as a read of standard input, does not hold up the exit.
fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime: Runtime =
        Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    done
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
