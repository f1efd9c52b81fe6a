//! Measures swarms on loopback, all in this process: how long a full mesh takes, what it costs at rest, how fast
//! gossip and requests are.
//!
//! `cargo run --release -p assetmesh-node --example swarm_bench -- [NODES] [REST_SECONDS]`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use assetmesh_node::actor::Tasks;
use assetmesh_node::identity::Identity;
use assetmesh_node::swarm::{Config, Gossip, Service, Swarm, Verdict};
use assetmesh_protocol::ids::NodeKey;
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Member {
    swarm: Swarm,
    key: NodeKey,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let nodes: usize = args.next().map_or(Ok(20), |text| text.parse())?;
    let rest: u64 = args.next().map_or(Ok(20), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("swarm-bench-{}", std::process::id()));
    let mut tasks = Tasks::default();
    let outcome = measure(&mut tasks, &folder, nodes, Duration::from_secs(rest)).await;
    tasks.finish().await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn measure(
    tasks: &mut Tasks,
    folder: &std::path::Path,
    nodes: usize,
    rest: Duration,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut members: Vec<Member> = Vec::new();
    let (arrived, arrivals) = mpsc::channel(1024);
    for number in 0..nodes {
        let bootstrap = members.first().map(|first| first.swarm.listen_addrs()).unwrap_or_default();
        let member = start(tasks, &folder.join(number.to_string()), bootstrap)?;
        accept(tasks, &member, arrived.clone());
        members.push(member);
    }
    let keys: BTreeSet<NodeKey> = members.iter().map(|member| member.key).collect();
    for member in &members {
        for other in &members {
            member.swarm.know(other.key, other.swarm.listen_addrs()).await;
        }
        member.swarm.want(keys.clone()).await;
    }
    for member in &members {
        let mut links = member.swarm.links();
        links.wait_for(|links| links.len() == nodes - 1).await?;
    }
    say(&format!("{nodes} nodes in full mesh after {:.1} s", began.elapsed().as_secs_f64()));

    // Second connections close and the mesh of gossip forms.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (cpu, sent) = (cpu_seconds()?, bytes_sent(&members));
    tokio::time::sleep(rest).await;
    let seconds = rest.as_secs_f64() * nodes as f64;
    say(&format!(
        "at rest, a node: {:.2} % of a core, {:.0} bytes/s sent, {:.1} MiB resident of {} MiB in all",
        100.0 * (cpu_seconds()? - cpu) / seconds,
        (bytes_sent(&members) - sent) as f64 / seconds,
        resident_mib()? as f64 / nodes as f64,
        resident_mib()?,
    ));
    gossip(&members, arrivals).await?;
    requests(&members).await
}

fn start(tasks: &mut Tasks, folder: &std::path::Path, bootstrap: Vec<String>) -> Result<Member, Failure> {
    std::fs::create_dir_all(folder)?;
    let identity = Identity::load_or_create(folder)?;
    let config = Config {
        data_dir: folder.to_owned(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap,
        ..Config::default()
    };
    let swarm = Swarm::start(tasks, &identity, config)?;
    Ok(Member { swarm, key: identity.node_key() })
}

/// Accepts what a member hears at once, as a registry would, and counts it.
fn accept(tasks: &mut Tasks, member: &Member, arrived: mpsc::Sender<u8>) {
    let (to, mut heard) = mpsc::channel::<Gossip>(64);
    member.swarm.attach_gossip(to);
    tasks.run("accept", |stop| async move {
        while let Some(Some(gossip)) = stop.run_until_cancelled(heard.recv()).await {
            gossip.verdict.send(Verdict::Accept).ok();
            arrived.send(gossip.bytes[0]).await.ok();
        }
    });
}

async fn gossip(members: &[Member], mut arrivals: mpsc::Receiver<u8>) -> Result<(), Failure> {
    let mut waits = Vec::new();
    for number in 0..100u8 {
        let began = Instant::now();
        members[0].swarm.publish(vec![number; 2048]).await?;
        for _ in &members[1..] {
            let arrival = tokio::time::timeout(Duration::from_secs(10), arrivals.recv()).await;
            assert_eq!(arrival.map_err(|_| "gossip is lost")?, Some(number));
        }
        waits.push(began.elapsed());
    }
    waits.sort();
    say(&format!("gossip of 2 KiB reaches all: p50 {:?}, p99 {:?}", waits[50], waits[99]));
    Ok(())
}

async fn requests(members: &[Member]) -> Result<(), Failure> {
    const ROUNDS: u32 = 1000;
    let (to, mut inbox) = mpsc::channel(64);
    members[0].swarm.attach_service(Service::Query, to);
    let answer = async {
        while let Some(request) = inbox.recv().await {
            request.answer.send(vec![1; 4096]).ok();
        }
        Ok(())
    };
    let asker = &members[members.len() - 1].swarm;
    let ask = async {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            asker.request(members[0].key, Service::Query, vec![1; 256], Duration::from_secs(5)).await?;
        }
        say(&format!("a request and its answer of 4 KiB: {:?}", began.elapsed() / ROUNDS));
        Ok(())
    };
    tokio::select! {
        done = ask => done,
        ended = answer => ended,
    }
}

fn bytes_sent(members: &[Member]) -> u64 {
    members.iter().map(|member| member.swarm.metrics().bytes().1).sum()
}

/// User and system time of this process (proc(5), fields 14 and 15; a tick is 10 ms).
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn resident_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn say(line: &str) {
    println!("{line}");
}
