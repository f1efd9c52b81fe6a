//! The measure of a transfer between nodes: bytes through one bare libp2p stream (TCP, noise, yamux, the library's own
//! settings), from one process to another, with nothing proven and nothing kept.
//!
//! `raw_stream give` prints its address and gives to everybody; `raw_stream take ADDRESS BYTES` prints what it took.

use std::time::{Duration, Instant};

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Behaviour;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/assetmesh/raw-stream/1");
/// As much as is written and read at once.
const PIECE_BYTES: usize = 64 << 10;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["give"] => give().await,
        ["take", address, bytes] => take(address.parse()?, bytes.parse()?).await,
        _ => Err("raw_stream give | raw_stream take ADDRESS BYTES".into()),
    }
}

fn swarm() -> Result<Swarm<Behaviour>, Failure> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    Ok(swarm)
}

async fn give() -> Result<(), Failure> {
    let mut swarm = swarm()?;
    let mut asked = swarm.behaviour().new_control().accept(PROTOCOL)?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                if let SwarmEvent::NewListenAddr { address, .. } = event {
                    say(&format!("{}", address.with_p2p(*swarm.local_peer_id()).map_err(|_| "an address")?));
                }
            }
            Some((_, stream)) = asked.next() => {
                let mut giving = tokio::task::JoinSet::new();
                giving.spawn(answer(stream));
                giving.detach_all();
            }
        }
    }
}

/// As many bytes as the question says.
async fn answer(mut stream: Stream) -> Result<(), Failure> {
    let mut question = [0; 8];
    stream.read_exact(&mut question).await?;
    let mut left = u64::from_le_bytes(question);
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    while left > 0 {
        let now = left.min(PIECE_BYTES as u64);
        stream.write_all(&piece[..now as usize]).await?;
        left -= now;
    }
    Ok(stream.close().await?)
}

async fn take(address: Multiaddr, bytes: u64) -> Result<(), Failure> {
    let mut swarm = swarm()?;
    let mut control = swarm.behaviour().new_control();
    let peer = address.iter().last().and_then(|last| match last {
        libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let peer: PeerId = peer.ok_or("the address names no peer")?;
    swarm.dial(address)?;
    while !swarm.is_connected(&peer) {
        swarm.select_next_some().await;
    }
    let taking = async move {
        let begun = Instant::now();
        let mut stream = control.open_stream(peer, PROTOCOL).await?;
        stream.write_all(&bytes.to_le_bytes()).await?;
        stream.flush().await?;
        let (mut piece, mut came) = (vec![0; PIECE_BYTES], 0);
        while came < bytes {
            match stream.read(&mut piece).await? {
                0 => return Err("it ended early".into()),
                read => came += read as u64,
            }
        }
        say(&format!("seconds={:.4}", begun.elapsed().as_secs_f64()));
        Ok(())
    };
    tokio::select! {
        done = taking => done,
        () = async { loop { swarm.select_next_some().await; } } => Ok(()),
    }
}

#[expect(clippy::print_stdout, reason = "a program for scripts")]
fn say(line: &str) {
    println!("{line}");
}
