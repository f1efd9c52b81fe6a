//! A running node checks its content: each line that it tells is shown as it comes.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;

use crate::client::{Client, text};
use crate::exit::{Exit, Fault};
use crate::output::{Output, human_bytes, printable};

/// The longest line of a node that is read.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Prints a line for each damage; fails with [`Exit::Integrity`] if any stays.
pub(crate) async fn ask(client: &Client, output: Output) -> anyhow::Result<()> {
    check(client, output).await.context("cannot verify the content of the node")
}

async fn check(client: &Client, output: Output) -> anyhow::Result<()> {
    let request = client.request(Method::POST, client.url(&["v1", "verify"]));
    let mut response = client.send(request).await?;
    let bar = output.bar(None, "checked");
    let (mut lines, mut end) = (Vec::new(), None);
    while let Some(bytes) = client.chunk(&mut response).await? {
        lines.extend_from_slice(&bytes);
        while let Some(at) = lines.iter().position(|byte| *byte == b'\n') {
            let rest = lines.split_off(at + 1);
            let line = std::mem::replace(&mut lines, rest);
            let line: Value = serde_json::from_slice(&line).map_err(|_| strange())?;
            if let Some(finding) = line.get("finding") {
                bar.suspend(|| show(output, finding))?;
            }
            let bytes = line.pointer("/progress/bytes").and_then(Value::as_u64);
            bar.set_position(bytes.unwrap_or(bar.position()));
            end = line.get("success").is_some().then_some(line).or(end);
        }
        if lines.len() > LINE_BYTES_MAX {
            return Err(strange().into());
        }
    }
    bar.finish_and_clear();
    let end = end.ok_or_else(|| Fault::new(Exit::Unreachable, "the node broke the check off"))?;
    judge(&end, output)
}

fn strange() -> Fault {
    Fault::new(Exit::Unexpected, "the node answered something else; is it an assetmesh node of this version?")
}

fn show(output: Output, finding: &Value) -> anyhow::Result<()> {
    if output.json() { output.document(finding) } else { output.data(printable(&told(finding))) }
}

fn told(finding: &Value) -> String {
    let id = text(finding, "asset_id");
    let bytes = human_bytes(finding.get("mended_bytes").and_then(Value::as_u64).unwrap_or_default());
    let from = finding.get("mended_from").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let from: Vec<&str> = from.iter().filter_map(Value::as_str).collect();
    match text(finding, "state") {
        "mended" => format!("{id}: mended, {bytes} from {}", from.join(" ")),
        _ => format!("{id}: damaged, {}", text(finding, "reason")),
    }
}

/// What the last line says of it all.
fn judge(end: &Value, output: Output) -> anyhow::Result<()> {
    let count =
        |name: &str| end.pointer(&format!("/data/{name}")).and_then(Value::as_u64).unwrap_or_default();
    let (blobs, bytes, damaged) = (count("blobs"), human_bytes(count("bytes")), count("damaged"));
    output.note(format_args!("{bytes} in {blobs} contents were read, {} were mended", count("mended")));
    if end.get("success").and_then(Value::as_bool) != Some(true) {
        return Err(Fault::new(Exit::Unexpected, text(end, "message").to_owned()).into());
    }
    match damaged {
        0 => Ok(()),
        _ => {
            let sentence = format!(
                "{damaged} stay damaged: no other node gives them; upload them again, or restore a backup"
            );
            Err(Fault::new(Exit::Integrity, sentence).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::args::OutputArgs;
    use crate::exit::code_of;

    #[test]
    fn damage_that_stays_is_an_integrity_failure_and_what_is_mended_is_none() {
        let quiet = || Output::from(&OutputArgs { json: false, quiet: true, no_progress: true });
        let end = |damaged: u64| json!({"success": true, "data": {"blobs": 3, "bytes": 9, "mended": 1, "damaged": damaged}});
        assert!(judge(&end(0), quiet()).is_ok());
        assert_eq!(code_of(&judge(&end(2), quiet()).unwrap_err()), Some(Exit::Integrity));
        let broken = judge(&json!({"success": false, "message": "m"}), quiet()).unwrap_err();
        assert_eq!(code_of(&broken), Some(Exit::Unexpected));
    }

    #[test]
    fn a_finding_says_what_became_of_the_content() {
        let mended =
            json!({"asset_id": "a", "state": "mended", "mended_bytes": 16384, "mended_from": ["x", "y"]});
        assert_eq!(told(&mended), format!("a: mended, {} from x y", human_bytes(16384)));
        let damaged =
            json!({"asset_id": "a", "state": "damaged", "mended_bytes": 0, "mended_from": [], "reason": "r"});
        assert_eq!(told(&damaged), "a: damaged, r");
    }
}
