//! The calls of REST.md as functions, for tests that are about what a node keeps and not about HTTP.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::http::Client;
use crate::http::request::{Method, Request, encode_segment};
use crate::http::response::Response;

/// Calls one node over one connection.
#[derive(Debug)]
pub struct Api {
    client: Client,
}

/// A description with name, version `1`, tag `t` and the given metadata: its uri is `<name>:1-t`.
#[must_use]
pub fn description_of(name: &str, metadata: &Value) -> Value {
    json!({
        "asset_name": name,
        "asset_version": {"version": "1", "tag": "t"},
        "asset_metadata": metadata,
    })
}

impl Api {
    /// Calls the node at `address`.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { client: Client::new(address) }
    }

    /// Any request.
    ///
    /// # Errors
    /// If the connection breaks before the end of the answer, as in every call here.
    pub fn call(&mut self, request: &Request) -> Result<Response> {
        self.client.call(request)
    }

    /// `POST /upload_asset`
    ///
    /// # Errors
    /// If there was no answer.
    pub fn upload(&mut self, description: &Value, content: &[u8]) -> Result<Response> {
        self.call(&Request::upload("content.bin", content, description))
    }

    /// `POST /asset`
    ///
    /// # Errors
    /// If there was no answer.
    pub fn create(&mut self, description: &Value) -> Result<Response> {
        self.call(&Request::json(Method::Post, "/asset", description))
    }

    /// `GET /asset/<key>`
    ///
    /// # Errors
    /// If there was no answer.
    pub fn find(&mut self, key: &str) -> Result<Response> {
        self.call(&Request::get(format!("/asset/{}", encode_segment(key))))
    }

    /// `PUT /asset/<key>`
    ///
    /// # Errors
    /// If there was no answer.
    pub fn update(&mut self, key: &str, patch: &Value) -> Result<Response> {
        self.call(&Request::json(Method::Put, format!("/asset/{}", encode_segment(key)), patch))
    }

    /// `DELETE /asset/<key>`
    ///
    /// # Errors
    /// If there was no answer.
    pub fn delete(&mut self, key: &str) -> Result<Response> {
        self.call(&Request::new(Method::Delete, format!("/asset/{}", encode_segment(key))))
    }

    /// `GET /asset-object/<asset_id>`
    ///
    /// # Errors
    /// If there was no whole answer.
    pub fn object(&mut self, asset_id: &str) -> Result<Response> {
        self.call(&Request::get(format!("/asset-object/{asset_id}")))
    }

    /// One page of `POST /assets`
    ///
    /// # Errors
    /// If there was no answer.
    pub fn query(&mut self, filter: &Value) -> Result<Response> {
        self.call(&Request::json(Method::Post, "/assets", filter))
    }

    /// All rows that match, page by page.
    ///
    /// # Errors
    /// If a page is not a 200 with `data`.
    pub fn query_all(&mut self, filter: &Value) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let target = cursor.as_ref().map_or_else(
                || "/assets".to_owned(),
                |cursor| format!("/assets?cursor={}", encode_segment(cursor)),
            );
            let response = self.call(&Request::json(Method::Post, target, filter))?;
            ensure!(response.status == 200, "{filter}: {} {}", response.status, response.text());
            let mut page = response.json()?;
            let data = page["data"].as_array_mut().context("`data` is a list")?;
            rows.append(data);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(rows),
            }
        }
    }

    /// A figure of `GET /metrics`, by its whole name without `assetmesh_`.
    ///
    /// # Errors
    /// If it is not shown.
    pub fn metric(&mut self, name: &str) -> Result<u64> {
        let response = self.call(&Request::get("/metrics"))?;
        let text = String::from_utf8(response.body).context("/metrics is text")?;
        let line = text.lines().find_map(|line| line.strip_prefix("assetmesh_")?.strip_prefix(name));
        let figure = line.with_context(|| format!("no {name} in /metrics"))?.trim();
        figure.parse().with_context(|| format!("{name} is {figure}"))
    }

    /// The facts of `GET /v1/node`.
    ///
    /// # Errors
    /// If the answer is not a 200 with `data`.
    pub fn node(&mut self) -> Result<Value> {
        let response = self.call(&Request::get("/v1/node"))?;
        ensure!(response.status == 200, "/v1/node: {} {}", response.status, response.text());
        Ok(response.json()?["data"].take())
    }
}
