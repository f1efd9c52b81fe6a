//! Whether the client of a request is still there. HTTP/1.1 leaves a client that closed its side alone until the answer
//! goes out; work that is done for nobody else can ask here.

use std::future::pending;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

/// The client's side of a connection. It holds a second descriptor of the socket, which is only watched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence(Option<Arc<OwnedFd>>);

impl Presence {
    /// Watches over a stream. Without a free descriptor nothing is noticed before the answer is sent.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        Self(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Ready once the client has closed its side, or the connection is lost. One at a time can be asked of a
    /// connection; HTTP/2 tells by itself.
    pub(crate) async fn gone(self) {
        let Some(socket) = self.0 else { return pending().await };
        let Ok(socket) = AsyncFd::with_interest(socket, Interest::READABLE) else { return pending().await };
        loop {
            match socket.ready(Interest::READABLE).await {
                Ok(guard) if guard.ready().is_read_closed() => return,
                // The next request, sent ahead: it stays where it is.
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return pending().await,
            }
        }
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
        client.write_all(b"GET /next HTTP/1.1\r\n").await.unwrap();
        server.readable().await.unwrap();
        assert!(futures_util::poll!(gone.as_mut()).is_pending());
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
