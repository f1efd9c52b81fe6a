//! `assetmesh download`: fetches an asset's bytes, goes on after a break, and lets only proven bytes have the final name.

mod file_name;
mod sink;
mod waiting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use assetmesh_protocol::ids::AssetId;
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use self::sink::Sink;
use self::waiting::Told;
use crate::args::DownloadArgs;
use crate::client::{Client, text};
use crate::exit::{Again, Exit, Fault};
use crate::output::{Output, printable};

/// How long the node may take to tell a peer's name.
const NAME_WITHIN: Duration = Duration::from_secs(1);

/// What is to be fetched.
#[derive(Debug)]
struct Wanted {
    id: AssetId,
    size: Option<u64>,
    file_name: String,
}

/// Fetches the asset and prints the path of the file.
pub(crate) async fn run(args: &DownloadArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let what = || format!("cannot download {}", args.asset);
    let wanted = locate(&args.asset, client).await.with_context(what)?;
    if args.target.as_deref() == Some(Path::new("-")) {
        return fetch(&wanted, Sink::stdout(), client, output).await.with_context(what);
    }
    let target = target(args.target.as_deref(), &wanted.file_name);
    if !args.force && target.symlink_metadata().is_ok() {
        let sentence = format!("{} exists: --force replaces it, -o names another", target.display());
        return Err(anyhow::Error::from(Fault::new(Exit::Conflict, sentence)).context(what()));
    }
    let sink = Sink::file(&target, &wanted.id, args.force).with_context(what)?;
    fetch(&wanted, sink, client, output).await.with_context(what)?;
    if output.json() {
        let told = serde_json::json!({"path": target.to_string_lossy(), "asset_id": wanted.id.to_string()});
        return output.document(&told);
    }
    output.data(target.display())
}

/// Finds out what the words of the user mean: a uri is looked up, an id is asked for directly.
async fn locate(asset: &str, client: &Client) -> anyhow::Result<Wanted> {
    if let Ok(id) = asset.parse::<AssetId>() {
        return locate_id(id, client).await;
    }
    let answer = client.ask(Method::GET, client.url(&["asset", asset]), None).await?;
    let description = answer.get("data").unwrap_or(&Value::Null);
    let id = text(description, "asset_id").parse().map_err(|_| {
        let hint = match text(description, "asset_public_url") {
            "" => String::new(),
            url => format!("; its public URL is {}", printable(url)),
        };
        Fault::new(Exit::NotFound, format!("no node stores its bytes{hint}"))
    })?;
    let file = description.get("asset_file_info").unwrap_or(&Value::Null);
    Ok(Wanted {
        id,
        size: file.get("file_size").and_then(Value::as_u64),
        file_name: file_name::safe(text(file, "file_name"), &id),
    })
}

async fn locate_id(id: AssetId, client: &Client) -> anyhow::Result<Wanted> {
    let url = client.url(&["asset-object", &id.to_string()]);
    let mut retry = client.retry();
    let head = loop {
        match client.send(client.request(Method::HEAD, url.clone())).await {
            Ok(head) => break head,
            Err(fault) => {
                if fault.exit() == Exit::NotFound {
                    // An answer to HEAD has no words, and who did not answer is told in words.
                    client.send(client.request(Method::GET, url.clone()).header(RANGE, "bytes=0-0")).await?;
                }
                retry.pause_after(fault).await?;
            }
        }
    };
    let told = head.headers().get(CONTENT_DISPOSITION).and_then(|value| value.to_str().ok());
    let name = told.and_then(file_name::of_disposition).unwrap_or_default();
    Ok(Wanted {
        id,
        size: number(head.headers(), CONTENT_LENGTH.as_str()),
        file_name: file_name::safe(&name, &id),
    })
}

/// The path that the file shall have in the end.
fn target(given: Option<&Path>, file_name: &str) -> PathBuf {
    match given {
        Some(folder) if folder.is_dir() => folder.join(file_name),
        Some(file) => file.to_owned(),
        None => PathBuf::from(file_name),
    }
}

/// Brings the bytes in and hands them over once they are proven.
async fn fetch(wanted: &Wanted, mut sink: Sink, client: &Client, output: Output) -> anyhow::Result<()> {
    let screen = Screen { bar: output.bar(wanted.size, "downloading"), output };
    let proven = fill(wanted, &mut sink, client, &screen).await;
    screen.bar.finish_and_clear();
    if proven? {
        return sink.keep();
    }
    sink.discard();
    let sentence = format!("the bytes that came are not those of {}: nothing was kept", wanted.id);
    Err(Fault::new(Exit::Integrity, sentence).into())
}

/// What the user sees meanwhile.
struct Screen {
    bar: ProgressBar,
    output: Output,
}

impl Screen {
    fn note(&self, line: impl std::fmt::Display) {
        self.bar.suspend(|| self.output.note(line));
    }
}

/// Fills the sink and tells whether its bytes are the wanted ones. If they are not, and some were left by an earlier
/// download, they are all fetched anew once.
async fn fill(wanted: &Wanted, sink: &mut Sink, client: &Client, screen: &Screen) -> anyhow::Result<bool> {
    if wanted.size.is_some_and(|size| sink.len() > size) {
        sink.restart()?;
    }
    let resumed = sink.len() > 0;
    if resumed {
        screen.note(format_args!("going on at byte {} of an earlier download", sink.len()));
    }
    transfer(wanted, sink, client, screen).await?;
    if resumed && sink.hash() != wanted.id {
        screen.note("what an earlier download left does not fit: beginning anew");
        sink.restart()?;
        transfer(wanted, sink, client, screen).await?;
    }
    Ok(sink.hash() == wanted.id)
}

/// Brings the bytes up to the asset's end, as often as needed. Only an attempt without a new byte counts as in vain.
async fn transfer(wanted: &Wanted, sink: &mut Sink, client: &Client, screen: &Screen) -> anyhow::Result<()> {
    let mut retry = client.retry();
    loop {
        let before = sink.len();
        screen.bar.set_position(before);
        if wanted.size == Some(before) && before > 0 {
            return Ok(());
        }
        let fault = match attempt(wanted, sink, client, screen).await {
            Ok(()) => return Ok(()),
            Err(error) => error.downcast::<Fault>()?,
        };
        if sink.len() > before {
            retry.progressed();
        }
        let said = fault.to_string();
        retry.pause_after(fault).await?;
        screen.note(format_args!("{said}; going on at byte {}", sink.len()));
    }
}

async fn attempt(wanted: &Wanted, sink: &mut Sink, client: &Client, screen: &Screen) -> anyhow::Result<()> {
    let (id, mut told) = (wanted.id.to_string(), Told::default());
    let opening = open(wanted, sink.len(), client);
    let Answer { mut response, mut skip, total } = told.while_waiting(opening, &id, client, screen).await?;
    tell_source(response.headers(), client, screen).await;
    if let Some(total) = total {
        screen.bar.set_length(total);
    }
    let end = total.or(wanted.size);
    while let Some(chunk) = told.while_waiting(client.chunk(&mut response), &id, client, screen).await? {
        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        skip -= known as u64;
        sink.write(&chunk[known..])?;
        screen.bar.set_position(sink.len());
        if end.is_some_and(|end| sink.len() > end) {
            return Err(Fault::new(Exit::Integrity, "the node sends more bytes than the asset has").into());
        }
    }
    if end.is_some_and(|end| sink.len() < end) {
        return Err(Fault::new(Exit::Unreachable, "the answer ended early").worth(Again::Lost).into());
    }
    Ok(())
}

/// Says where the bytes come from; a peer by its name, if the node knows it.
async fn tell_source(headers: &HeaderMap, client: &Client, screen: &Screen) {
    let Some(source) = headers.get("x-assetmesh-source").and_then(|value| value.to_str().ok()) else {
        return;
    };
    let name = match source.strip_prefix("peer:") {
        Some(id) if screen.output.notes() => name_of(id, client).await,
        _ => None,
    };
    match name {
        Some(name) => screen.note(format_args!("from {} ({})", printable(&name), printable(source))),
        None => screen.note(format_args!("from {}", printable(source))),
    }
}

/// A name is good to know and no reason to fail or to wait.
async fn name_of(assets_db_id: &str, client: &Client) -> Option<String> {
    let asked = async {
        let response = client.send(client.request(Method::GET, client.url(&["v1", "peers"]))).await?;
        client.json(response).await
    };
    let answer = tokio::time::timeout(NAME_WITHIN, asked).await.ok()?.ok()?;
    let peers = answer.get("data")?.as_array()?;
    let peer = peers.iter().find(|peer| text(peer, "assets_db_id") == assets_db_id)?;
    Some(text(peer, "name").to_owned()).filter(|name| !name.is_empty())
}

/// An answer whose body, after `skip` bytes, goes on where the sink ends.
struct Answer {
    response: Response,
    skip: u64,
    total: Option<u64>,
}

async fn open(wanted: &Wanted, from: u64, client: &Client) -> Result<Answer, Fault> {
    let id = wanted.id.to_string();
    let mut request = client.request(Method::GET, client.url(&["asset-object", &id]));
    if from > 0 {
        request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, format!("\"{id}\""));
    }
    let response = client.send(request).await?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        let total = number(response.headers(), CONTENT_LENGTH.as_str());
        return Ok(Answer { response, skip: from, total });
    }
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    match range.and_then(content_range) {
        Some((first, total)) if first <= from => Ok(Answer { response, skip: from - first, total }),
        _ => Err(Fault::new(Exit::Unexpected, "the node answered with another range than was asked for")),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// First byte and total of `bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_tells_its_first_byte_and_the_total() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("lines 5-9/10"), None);
    }

    #[test]
    fn a_folder_as_target_gets_the_stored_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(target(Some(folder.path()), "a.png"), folder.path().join("a.png"));
        assert_eq!(target(Some(Path::new("b.png")), "a.png"), Path::new("b.png"));
        assert_eq!(target(None, "a.png"), Path::new("a.png"));
    }
}
