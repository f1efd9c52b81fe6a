//! Upper-case header names on the wire. Header maps know only lower case; but hyper's server can note how the names of a
//! request were written, in an extension that its client obeys. One request is parsed at the start for that note.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::sync::mpsc;

use crate::invocation::headers::OWNED;

const BUFFER_BYTES: usize = 4096;

/// What to put into a request so that the worker's own names go out as they are documented.
pub(crate) async fn upper_case() -> io::Result<Extensions> {
    let mut head = "GET / HTTP/1.1\r\nHost: template\r\n".to_owned();
    for name in OWNED {
        let _ = write!(head, "{name}: x\r\n");
    }
    head.push_str("\r\n");
    let (mut client, server) = duplex(BUFFER_BYTES);
    client.write_all(head.as_bytes()).await?;
    client.shutdown().await?;
    let (found, mut extensions) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        // The receiver waits for exactly one.
        let _ = found.try_send(request.extensions().clone());
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let served = builder
        .half_close(true)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(server), service)
        .await;
    served.map_err(io::Error::other)?;
    extensions.try_recv().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1::Builder;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn the_names_of_the_worker_go_out_in_capitals_and_others_as_they_are() {
        let (client, mut recorder) = duplex(BUFFER_BYTES);
        let mut builder = Builder::new();
        let handshake = builder.preserve_header_case(true).handshake(TokioIo::new(client)).await.unwrap();
        let (mut sender, connection) = handshake;
        let mut request = Request::builder().uri("/x").header("x-mine", "1");
        for name in OWNED {
            request = request.header(name, "y");
        }
        let mut request = request.body(Empty::<Bytes>::new()).unwrap();
        request.extensions_mut().extend(upper_case().await.unwrap());
        let exchange = async {
            let _ = tokio::join!(sender.send_request(request), connection);
        };
        let mut sent = vec![0; BUFFER_BYTES];
        let length = tokio::select! {
            read = recorder.read(&mut sent) => read.unwrap(),
            () = exchange => panic!("the connection ended first"),
        };
        let sent = String::from_utf8(sent[..length].to_vec()).unwrap();
        for name in OWNED {
            assert!(sent.contains(&format!("\r\n{name}: y\r\n")), "{name} in {sent}");
        }
        assert!(sent.contains("\r\nx-mine: 1\r\n"), "{sent}");
    }
}
