//! What a client hears that is refused before its body was read.

use assetmesh_http_api::{Auth, Config, Reads};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Server;

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields as HPACK literals without indexing (RFC 7541, 6.2.2).
fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    pairs.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The next frame: its kind, flags and stream.
async fn next_frame(stream: &mut TcpStream) -> (u8, u8, u32) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]))
}

#[tokio::test]
async fn a_small_body_is_read_before_it_is_refused_so_that_http2_clients_hear_why() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const PING: u8 = 6;
    let server = Server::with(Config { auth: Auth::Token { reads: Reads::Open }, ..Config::default() }).await;
    let mut stream = server.connect().await;
    let head = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/asset"),
        (":authority", "localhost"),
        ("content-type", "application/json"),
        ("content-length", "2"),
    ]);
    let preface =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b""), &frame(HEADERS, 4, 1, &head)];
    stream.write_all(&[preface.concat(), frame(PING, 0, 0, &[7; 8])].concat()).await.unwrap();
    let mut seen = Vec::new();
    // The answer to the ping says that the head has been read, and a second one that there was time for a handler.
    for _ in 0..2 {
        loop {
            let frame = next_frame(&mut stream).await;
            seen.push(frame);
            if (frame.0, frame.1) == (PING, 1) {
                break;
            }
        }
        stream.write_all(&frame(PING, 0, 0, &[8; 8])).await.unwrap();
    }
    assert!(seen.iter().all(|(_, _, stream)| *stream == 0), "answered before the body came: {seen:?}");
    stream.write_all(&frame(DATA, 1, 1, b"{}")).await.unwrap();
    loop {
        let (kind, flags, at) = next_frame(&mut stream).await;
        assert_ne!(kind, RESET, "the stream was reset");
        if at == 1 && kind == DATA && flags & 1 == 1 {
            break;
        }
    }
}
