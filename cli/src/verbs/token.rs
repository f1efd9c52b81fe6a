//! `assetmesh token`: makes, lists and revokes the tokens of a node, by its data directory. It asks no node, and shows a
//! secret only where it is made.

use std::path::Path;

use anyhow::Context as _;
use assetmesh_node::tokens::{Issued, Kind, Office, OfficeError, Order, Record, SCOPES};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::{TokenCreateArgs, TokenLsArgs, TokenRevokeArgs};
use crate::exit::{Exit, Fault};
use crate::output::{Output, printable};
use crate::value::{Network, Span};

/// Makes a token and prints it.
pub(crate) fn create(
    args: &TokenCreateArgs,
    data_dir: &Path,
    network: Option<Network>,
) -> anyhow::Result<()> {
    let output = Output::from(&args.output);
    let order = Order {
        account: args.account.clone(),
        scopes: args.scopes.iter().cloned().collect(),
        life: args.ttl.map(|Span(life)| life),
        is_opaque: args.opaque,
    };
    let made = open(data_dir, network).and_then(|office| office.issue(&order).map_err(explain));
    let Issued { record, token } = made.context("cannot make a token")?;
    for scope in record.scopes.iter().filter(|scope| !SCOPES.contains(&scope.as_str())) {
        output.note(format_args!("the scope {} grants nothing on a node", printable(scope)));
    }
    let until = record.expires.map_or("until it is revoked".to_owned(), |end| format!("until {}", time(end)));
    output
        .note(format_args!("token {} of {}, good {until}; it is shown only here", record.id, record.account));
    if output.json() {
        let mut document = shown(&record);
        document["token"] = token.into();
        return output.document(&document);
    }
    output.data(token)
}

/// Prints every token.
pub(crate) fn list(args: &TokenLsArgs, data_dir: &Path) -> anyhow::Result<()> {
    let output = Output::from(&args.output);
    let listed = open(data_dir, None).and_then(|office| office.list().map_err(explain));
    let (records, damaged) = listed.context("cannot list the tokens")?;
    for file in &damaged {
        output.note(format_args!("{file}: tokens of this record are refused"));
    }
    if output.json() {
        return records.iter().try_for_each(|record| output.document(&shown(record)));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "KIND", "ACCOUNT", "SCOPES", "CREATED", "EXPIRES", "REVOKED"]);
    for record in &records {
        table.add_row(cells(record));
    }
    output.data(table.trim_fmt())
}

/// Takes a token back and prints its id.
pub(crate) fn revoke(args: &TokenRevokeArgs, data_dir: &Path) -> anyhow::Result<()> {
    let output = Output::from(&args.output);
    let revoked = open(data_dir, None).and_then(|office| {
        let revoked = match &args.issuer {
            None => office.revoke(&args.id),
            Some(issuer) => office.refuse_foreign(issuer, &args.id),
        };
        revoked.map_err(explain)
    });
    let record = revoked.context("cannot revoke the token")?;
    if output.json() {
        return output.document(&shown(&record));
    }
    output.note("the token is refused from now on");
    output.data(printable(&record.id))
}

fn open(data_dir: &Path, network: Option<Network>) -> anyhow::Result<Office> {
    Office::open(data_dir, network.map(|Network(name)| name)).map_err(explain)
}

fn explain(error: OfficeError) -> anyhow::Error {
    let exit = match &error {
        OfficeError::NoNode(_) => {
            let advice = "start a node there once, or name its folder with --data-dir";
            return Fault::new(Exit::NotFound, format!("{error}: {advice}")).into();
        }
        OfficeError::NotFound(_) => Exit::NotFound,
        OfficeError::Account | OfficeError::Scopes | OfficeError::Life | OfficeError::TooLong => Exit::Usage,
        OfficeError::Identity(_) | OfficeError::Shelf(_) | OfficeError::Random(_) => Exit::Unexpected,
    };
    Fault::new(exit, error.to_string()).into()
}

fn kind(record: &Record) -> &'static str {
    match record.kind {
        Kind::Jwt => "jwt",
        Kind::Opaque => "opaque",
        Kind::Foreign => "foreign",
    }
}

/// A time in seconds since 1970 as RFC 3339.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{seconds} s after 1970"), |time| time.to_string())
}

fn shown(record: &Record) -> Value {
    json!({
        "id": record.id,
        "kind": kind(record),
        "issuer": record.issuer,
        "account": record.account,
        "scopes": record.scopes,
        "created": time(record.created),
        "expires": record.expires.map(time),
        "revoked": record.revoked.map(time),
    })
}

fn cells(record: &Record) -> [String; 7] {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let scopes: Vec<&str> = record.scopes.iter().map(String::as_str).collect();
    [
        or_dash(&record.id),
        kind(record).to_owned(),
        or_dash(&record.account),
        or_dash(&scopes.join(" ")),
        time(record.created),
        record.expires.map_or("never".to_owned(), time),
        record.revoked.map_or("-".to_owned(), time),
    ]
}
