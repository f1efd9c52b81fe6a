//! A node behind a real listener, and a client that writes exactly the bytes it is told to.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use assetmesh_http_api::{Config, serve};
use assetmesh_node::Node;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    node: Node,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinSet<std::io::Result<()>>,
    data: TempDir,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::on(tempfile::tempdir().unwrap(), config).await
    }

    /// Stops the node, lets something happen to its files, and starts it again.
    pub(crate) async fn again(mut self, happens: impl FnOnce(&Path)) -> Self {
        self.stop.cancel();
        self.served.join_next().await.unwrap().unwrap().unwrap();
        self.node.stop().await;
        let Self { data, node, .. } = self;
        drop(node);
        happens(data.path());
        Self::on(data, Config::default()).await
    }

    async fn on(data: TempDir, config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = assetmesh_node::Config {
            data_dir: data.path().to_owned(),
            http_addr: address,
            swarm: assetmesh_node::swarm::Config {
                data_dir: data.path().to_owned(),
                listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
                ..assetmesh_node::swarm::Config::default()
            },
            ..assetmesh_node::Config::default()
        };
        let node = Node::start(settings).unwrap();
        let stop = CancellationToken::new();
        let mut served = JoinSet::new();
        served.spawn(serve(listener, node.clone(), config, stop.clone()));
        Self { address, node, stop, served, data }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are, then reads one answer.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        reply(&mut stream, false).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, "", b"").await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &str) -> Reply {
        self.call(method, path, "Content-Type: application/json\r\n", body.as_bytes()).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}{length}\r\n",
            self.address
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        reply(&mut stream, method == "HEAD").await
    }

    /// Uploads a form of raw parts, each with its own header lines.
    pub(crate) async fn upload(&self, parts: &[(&str, &[u8])]) -> Reply {
        self.call("POST", "/upload_asset", FORM, &form(parts)).await
    }

    pub(crate) async fn count(&self) -> u64 {
        self.get("/v1/node").await.json()["data"]["assets"].as_u64().unwrap()
    }
}

pub(crate) const FORM: &str = "Content-Type: multipart/form-data; boundary=XyZ\r\n";
pub(crate) const FILE: &str = "Content-Disposition: form-data; name=\"asset\"; filename=\"f.bin\"";
pub(crate) const METADATA: &str = "Content-Disposition: form-data; name=\"asset_metadata\"";

/// The body of a form with the boundary of [`FORM`].
pub(crate) fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(format!("--XyZ\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XyZ--\r\n");
    body
}

pub(crate) fn metadata(name: &str) -> Vec<u8> {
    format!(r#"{{"asset_name":"{name}","asset_version":{{"version":"1.0","tag":"t"}}}}"#).into_bytes()
}

/// Reads one answer: as long as its Content-Length, or until the end.
pub(crate) async fn reply(stream: &mut TcpStream, headless: bool) -> Reply {
    let read = async {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert!(
                stream.read_buf(&mut bytes).await.unwrap() > 0,
                "no answer: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut body = bytes.split_off(end + 4);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = reply.header("content-length").map(|text| text.parse::<usize>().unwrap());
        let wanted = if headless || status == 304 { 0 } else { length.unwrap_or(usize::MAX) };
        while body.len() < wanted && stream.read_buf(&mut body).await.unwrap_or(0) > 0 {}
        reply.body = body;
        reply
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a refusal as documented, and gives its sentence.
    pub(crate) fn refused(&self, status: u16) -> String {
        let json = self.json();
        assert_eq!(self.status, status, "{json}");
        assert_eq!(json["success"], false);
        assert!(json["code"].is_string());
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert!(self.header("x-request-id").is_some());
        json["error"].as_str().unwrap().to_owned()
    }
}
