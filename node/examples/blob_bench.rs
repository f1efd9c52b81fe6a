//! Measures a blob store: one large upload and download, and many small uploads at once.
//!
//! `cargo run --release -p assetmesh-node --example blob_bench -- FOLDER [MIB] [FRAME_KIB] [CACHE_MIB]`

use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use assetmesh_node::actor::Tasks;
use assetmesh_node::blobs::{Blobs, Config};
use bytes::Bytes;
use futures_util::StreamExt;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let base = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: usize = args.next().map_or(Ok(1024), |text| text.parse())?;
    let frame_kib: usize = args.next().map_or(Ok(64), |text| text.parse())?;
    let mut config = Config::default();
    if let Some(mib) = args.next() {
        config.store.cache_bytes = mib.parse::<usize>()? << 20;
    }
    let folder = base.join(format!("blob-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = measure(&folder, mib, frame_kib << 10, config).await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn measure(folder: &std::path::Path, mib: usize, frame: usize, config: Config) -> Result<(), Failure> {
    let mut tasks = Tasks::default();
    let blobs = Blobs::start(&mut tasks, folder, config)?;
    say(&format!("idle: {} MiB resident", resident_mib()));
    let mut leases = Vec::new();
    for round in 0..3_u64 {
        let content = noise(mib << 20, round);
        let before = resident_mib();
        let start = Instant::now();
        let mut upload = blobs.begin();
        for frame in frames(&content, frame) {
            upload.write(frame).await?;
        }
        let stored = upload.finish().await?;
        let rate = rate(mib, start.elapsed());
        say(&format!("put {mib} MiB: {rate:.0} MB/s, +{} MiB resident", resident_mib() - before));
        drop(content);
        let start = Instant::now();
        let blob = blobs.open(&stored.id)?.ok_or("the blob is gone")?;
        let mut read = pin!(blob.read(0..blob.size()));
        let mut len = 0;
        while let Some(bytes) = read.next().await {
            len += bytes?.len();
        }
        assert_eq!(len, mib << 20);
        say(&format!(
            "get {mib} MiB: {:.0} MB/s, {} MiB resident",
            self::rate(mib, start.elapsed()),
            resident_mib()
        ));
        let start = Instant::now();
        let mut read = pin!(blob.read(blob.size() - 1..blob.size()));
        let last = read.next().await.ok_or("no byte")??;
        say(&format!("last byte ({} byte): {:?}", last.len(), start.elapsed()));
        leases.push(stored.lease);
    }
    small(&blobs, 64, 500).await?;
    small(&blobs, 1, 500).await?;
    Ok(())
}

async fn small(blobs: &Blobs, clients: usize, each: usize) -> Result<(), Failure> {
    let start = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for client in 0..clients {
        let blobs = blobs.clone();
        set.spawn(async move {
            let mut leases = Vec::new();
            for number in 0..each {
                let mut upload = blobs.begin();
                let seed = (clients << 40) + (client << 20) + number;
                upload.write(Bytes::from(noise(4096, seed as u64))).await?;
                leases.push(upload.finish().await?);
            }
            Ok::<_, assetmesh_node::blobs::Error>(leases)
        });
    }
    let mut kept = Vec::new();
    while let Some(done) = set.join_next().await {
        kept.push(done??);
    }
    let rate = (clients * each) as f64 / start.elapsed().as_secs_f64();
    say(&format!("4 KiB puts by {clients} clients: {rate:.0}/s"));
    Ok(())
}

/// Network-like frames: each its own allocation.
fn frames(content: &[u8], frame: usize) -> impl Iterator<Item = Bytes> {
    content.chunks(frame).map(Bytes::copy_from_slice)
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut key = [7; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut out);
    out
}

fn rate(mib: usize, time: Duration) -> f64 {
    (mib << 20) as f64 / 1e6 / time.as_secs_f64()
}

fn resident_mib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) / 1024
}

#[expect(clippy::print_stdout, reason = "this program's purpose is to print figures")]
fn say(line: &str) {
    println!("{line}");
}
