//! Whether the client of a request is still there. HTTP/1.1 leaves a client that closed its side alone until the answer
//! goes out; work that is done for nobody else can ask here.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// The client's side of a connection. It holds a second descriptor of the socket, which is only watched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence(Option<Arc<OwnedFd>>);

impl Presence {
    /// Watches over a stream. Without a free descriptor nothing is noticed before the answer is sent.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        Self(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Ready once the client has closed its side, or the connection is lost.
    pub(crate) async fn gone(self) {
        let Some(socket) = self.watched() else { return pending().await };
        loop {
            match socket.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return,
                // The next request, sent ahead: it stays where it is, and readiness is waited for anew.
                Ok(_) => {
                    let _ =
                        socket.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                }
                Err(_) => return pending().await,
            }
        }
    }

    /// The socket once more, registered for this one watch.
    fn watched(&self) -> Option<TcpStream> {
        let socket = self.0.as_ref()?.try_clone().ok()?;
        TcpStream::from_std(std::net::TcpStream::from(socket)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_and_one_that_sends_is_not_taken_for_it() {
        let (mut client, server) = pair().await;
        let gone = Presence::of(&server).gone();
        let mut gone = std::pin::pin!(gone);
        assert!(futures_util::poll!(gone.as_mut()).is_pending());
        let other = Presence::of(&server).watched().unwrap();
        for _ in 0..20 {
            client.write_all(b"GET /next HTTP/1.1\r\n").await.unwrap();
            // Both are told of the same bytes, and nobody reads them.
            other.readable().await.unwrap();
            let _ = other.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            assert!(futures_util::poll!(gone.as_mut()).is_pending());
        }
        drop(client);
        timeout(Duration::from_secs(20), gone).await.unwrap();
    }

    #[tokio::test]
    async fn a_watch_does_not_keep_a_connection_open() {
        let (client, server) = pair().await;
        let presence = Presence::of(&server);
        drop((server, presence));
        client.readable().await.unwrap();
        assert_eq!(client.try_read(&mut [0; 1]).unwrap(), 0);
    }
}
