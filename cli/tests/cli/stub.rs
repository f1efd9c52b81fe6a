//! A node that does what a test says, down to the byte at which it breaks the connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Such as `GET /asset/x?scope=local`.
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Seen {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether method and path begin so.
    pub(crate) fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }
}

/// The stub; it answers until the test process ends.
pub(crate) struct Stub {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    /// Answers each request with the raw bytes that `answer` makes of it and of its number, then closes the connection.
    pub(crate) fn start(answer: impl Fn(&Seen, usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read(&connection) else { continue };
                let number = noted.lock().unwrap().len();
                noted.lock().unwrap().push(request.clone());
                let _ = connection.write_all(&answer(&request, number));
            }
        });
        Self { port, seen }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(connection: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut seen = Seen { line, body: Vec::new(), headers };
    if seen.header("transfer-encoding") == Some("chunked") {
        read_chunks(&mut reader, &mut seen.body)?;
    } else {
        let length = seen.header("content-length").map_or(0, |text| text.parse().unwrap());
        seen.body.resize(length, 0);
        reader.read_exact(&mut seen.body).ok()?;
    }
    Some(seen)
}

fn read_chunks(reader: &mut BufReader<&TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(());
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// An answer with a body and headers such as `ETag: "x"`.
pub(crate) fn answer(status: u16, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head =
        format!("HTTP/1.1 {status} Any\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An answer of JSON.
pub(crate) fn json(status: u16, body: &Value) -> Vec<u8> {
    answer(status, &["Content-Type: application/json"], body.to_string().as_bytes())
}

/// An error answer.
pub(crate) fn error(status: u16, sentence: &str, code: &str) -> Vec<u8> {
    json(status, &serde_json::json!({"success": false, "error": sentence, "code": code}))
}

/// No answer: the connection just ends.
pub(crate) fn nothing() -> Vec<u8> {
    Vec::new()
}
