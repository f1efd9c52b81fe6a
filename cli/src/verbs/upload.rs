//! `assetmesh upload`: stores a file as an asset, and checks that the node holds the very bytes that were sent.

mod body;

use std::path::Path;

use anyhow::Context as _;
use indicatif::ProgressBar;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use self::body::Sending;
use crate::args::UploadArgs;
use crate::client::{Client, text};
use crate::edits::object_file;
use crate::exit::{Exit, Fault};
use crate::output::{Output, human_bytes, printable};

/// Stores the file and prints the asset's uri.
pub(crate) async fn run(args: &UploadArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let request = Request::of(args)?;
    let stored = store(&request, client, output).await;
    let (answer, fresh) = stored.with_context(|| format!("cannot upload {}", args.file.display()))?;
    let asset = answer.get("data").unwrap_or(&Value::Null);
    if output.json() {
        return output.document(asset);
    }
    let size = asset.pointer("/asset_file_info/file_size").and_then(Value::as_u64).unwrap_or(0);
    let done = if fresh { "stored" } else { "was stored already:" };
    output.note(format_args!("{done} {}, id {}", human_bytes(size), printable(text(&answer, "asset_id"))));
    output.note(format_args!("at {}", printable(text(&answer, "public_url"))));
    output.data(printable(text(&answer, "asset_uri")))
}

/// What is sent; made once, sent perhaps several times.
struct Request<'a> {
    source: &'a Path,
    file_name: String,
    content_type: String,
    description: String,
}

impl<'a> Request<'a> {
    fn of(args: &'a UploadArgs) -> Result<Self, Fault> {
        let own_name = args.file.file_name().map(|name| name.to_string_lossy().into_owned());
        let default_name = if is_stdin(&args.file) { Some(args.name.clone()) } else { own_name };
        let file_name = args.file_name.clone().or(default_name).unwrap_or_default();
        let file_name: String = file_name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        if file_name.is_empty() {
            return Err(Fault::usage(format!("{} is not a file: give --file-name", args.file.display())));
        }
        let guess = || mime_guess::from_path(&file_name).first_or_octet_stream().to_string();
        let content_type = args.content_type.clone().unwrap_or_else(guess);
        Ok(Self { source: &args.file, file_name, content_type, description: description(args)?.to_string() })
    }

    fn form(&self, file: Part) -> Result<Form, Fault> {
        let unfit =
            |_| Fault::usage(format!("`{}` is not a media type such as image/png", self.content_type));
        let file = file.file_name(self.file_name.clone()).mime_str(&self.content_type).map_err(unfit)?;
        Ok(Form::new().text("asset_metadata", self.description.clone()).part("asset", file))
    }
}

/// The description of the asset, in the form that `POST /upload_asset` takes.
fn description(args: &UploadArgs) -> Result<Value, Fault> {
    let mut metadata = match &args.metadata {
        Some(path) => object_file(path, "metadata")?,
        None => Map::new(),
    };
    for edit in &args.meta {
        edit.apply(&mut metadata)?;
    }
    Ok(json!({
        "asset_name": args.name,
        "asset_version": { "version": args.version, "tag": args.tag },
        "asset_metadata": metadata,
        "asset_tags": args.labels,
    }))
}

/// Sends the file until it is stored. A node takes the same upload again as the same asset, so a lost answer does no harm.
async fn store(request: &Request<'_>, client: &Client, output: Output) -> anyhow::Result<(Value, bool)> {
    let mut retry = client.retry();
    loop {
        let fault = match store_once(request, client, output).await {
            Ok(stored) => return Ok(stored),
            Err(error) => error.downcast::<Fault>()?,
        };
        if is_stdin(request.source) {
            return Err(fault.into());
        }
        let said = fault.to_string();
        retry.pause_after(fault).await?;
        output.note(format_args!("{said}; sending again"));
    }
}

async fn store_once(request: &Request<'_>, client: &Client, output: Output) -> anyhow::Result<(Value, bool)> {
    let sending =
        if is_stdin(request.source) { Sending::stdin() } else { Sending::file(request.source).await? };
    let bar = output.bar(sending.size(), "uploading");
    let sent = send(request, client, &sending, &bar).await;
    bar.finish_and_clear();
    let response = client.check(sent?).await?;
    let fresh = response.status() == StatusCode::CREATED;
    let answer = client.json(response).await?;
    let (ours, theirs) = (sending.hash(), text(&answer, "asset_id"));
    if ours != theirs {
        let sentence =
            format!("the node stored other bytes than were sent: {} in place of {ours}", printable(theirs));
        return Err(Fault::new(Exit::Integrity, sentence).into());
    }
    Ok((answer, fresh))
}

async fn send(
    request: &Request<'_>,
    client: &Client,
    sending: &Sending,
    bar: &ProgressBar,
) -> Result<Response, Fault> {
    let form = request.form(sending.part(bar.clone()))?;
    let answer = client.request(Method::POST, client.url(&["upload_asset"])).multipart(form).send();
    tokio::select! {
        answer = answer => answer.map_err(|error| sending.read_error().unwrap_or_else(|| client.lost(&error))),
        () = sending.stalled(client.idle_timeout()) => Err(client.silent()),
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parsed(file: &str, more: &[&str]) -> UploadArgs {
        let line = ["assetmesh", "upload", file, "--name", "n", "--version", "1", "--tag", "t"];
        let Verb::Upload(args) = Cli::try_parse_from(line.iter().chain(more)).unwrap().verb else {
            panic!("no upload")
        };
        args
    }

    #[test]
    fn the_description_has_the_form_of_the_route() {
        let args =
            parsed("a.png", &["--label", "x", "--label", "y", "--meta", "lr:=0.1", "--meta", "by.who=me"]);
        let expected = json!({
            "asset_name": "n", "asset_version": {"version": "1", "tag": "t"},
            "asset_metadata": {"lr": 0.1, "by": {"who": "me"}}, "asset_tags": ["x", "y"],
        });
        assert_eq!(description(&args).unwrap(), expected);
    }

    #[test]
    fn the_file_name_and_type_come_from_the_path_unless_given() {
        let args = parsed("/x/a\nb.png", &[]);
        let request = Request::of(&args).unwrap();
        assert_eq!((request.file_name.as_str(), request.content_type.as_str()), ("a_b.png", "image/png"));
        let args = parsed("-", &[]);
        let request = Request::of(&args).unwrap();
        assert_eq!(
            (request.file_name.as_str(), request.content_type.as_str()),
            ("n", "application/octet-stream")
        );
        let args = parsed("w.bin", &["--file-name", "m.json", "--content-type", "text/x"]);
        let request = Request::of(&args).unwrap();
        assert_eq!((request.file_name.as_str(), request.content_type.as_str()), ("m.json", "text/x"));
        assert!(Request::of(&parsed("..", &[])).is_err());
    }
}
