//! Replays what was recorded of the original services, where we promise the same.

use assetmesh_tests::{Client, Content, Method, Request, Response, multipart};
use serde::Deserialize;
use serde_json::Value;

use crate::it::support::{TestNode, assert_failure, missing_from};

const RECORDED: &str = include_str!("../../../data/aios/recorded.json");

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    #[serde(rename = "type")]
    content_type: Option<String>,
    body: Option<String>,
    parts: Option<Vec<Part>>,
    status: u16,
    /// Contained in the answer.
    answer: Option<Value>,
    /// The uris of the rows, in order.
    finds: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Part {
    name: String,
    filename: Option<String>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    data: Option<String>,
    bytes: Option<usize>,
}

impl Case {
    fn request(&self) -> Request {
        let method = Method::named(&self.method).unwrap();
        let mut request = Request::new(method, self.path.clone());
        if let Some(content_type) = &self.content_type {
            request = request.with_header("Content-Type", content_type);
        }
        if let Some(parts) = &self.parts {
            let parts: Vec<(String, Vec<u8>)> = parts.iter().map(Part::head_and_bytes).collect();
            let parts: Vec<(&str, &[u8])> =
                parts.iter().map(|(head, bytes)| (head.as_str(), bytes.as_slice())).collect();
            return request
                .with_header("Content-Type", multipart::CONTENT_TYPE)
                .with_body(multipart::body(&parts));
        }
        request.with_body(self.body.clone().unwrap_or_default().into_bytes())
    }

    fn judge(&self, response: &Response) -> Result<(), String> {
        if response.status != self.status {
            return Err(format!("status {} and not {}: {}", response.status, self.status, response.text()));
        }
        if let Some(answer) = &self.answer {
            let body = response.json().map_err(|error| format!("{error:#}"))?;
            if let Some(difference) = missing_from(&body, answer) {
                return Err(format!("{difference}; in {body}"));
            }
        }
        if let Some(finds) = &self.finds {
            let body = response.json().map_err(|error| format!("{error:#}"))?;
            let rows = body["data"].as_array().ok_or_else(|| format!("no rows in {body}"))?;
            let found: Vec<&str> = rows.iter().filter_map(|row| row["asset_uri"].as_str()).collect();
            if found != *finds {
                return Err(format!("finds {found:?} and not {finds:?}"));
            }
        }
        Ok(())
    }
}

impl Part {
    fn head_and_bytes(&self) -> (String, Vec<u8>) {
        let mut head = format!("name=\"{}\"", self.name);
        if let Some(filename) = &self.filename {
            head.push_str(&format!("; filename=\"{filename}\""));
        }
        if let Some(content_type) = &self.content_type {
            head.push_str(&format!("\r\nContent-Type: {content_type}"));
        }
        let text = self.data.as_ref().map(|text| text.as_bytes().to_vec());
        let bytes = self.bytes.map(|size| Content { seed: 1, size }.bytes());
        (head, text.or(bytes).unwrap_or_default())
    }
}

#[test]
fn recorded_requests_are_answered_as_the_original_did() {
    let groups: Vec<Vec<Case>> = serde_json::from_str(RECORDED).unwrap();
    let mut differences = Vec::new();
    for group in &groups {
        let node = TestNode::start();
        let mut client = Client::new(node.process.address());
        for case in group {
            let request = case.request();
            let response = client.call(&request).unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
            if let Err(difference) = case.judge(&response) {
                differences.push(format!("{}: {difference}", case.name));
            } else if response.status >= 400 && case.method != "HEAD" {
                assert_failure(&case.name, &response);
            }
        }
    }
    let cases: usize = groups.iter().map(Vec::len).sum();
    assert!(cases > 150, "only {cases} cases were read");
    assert!(differences.is_empty(), "{} of {cases} differ:\n{}", differences.len(), differences.join("\n"));
}
