//! A wire that a test can make slow, stop and cut: a TCP proxy in front of a server of this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that are carried at once.
const PIECE: usize = 64 << 10;

/// The proxy. It ends, with everything that it carries, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Bytes a second and direction; without a limit where it is 0.
    rate: AtomicU64,
    /// Connections that were accepted.
    accepted: AtomicU64,
    /// Connections of lower numbers stand still.
    standing: watch::Sender<u64>,
    /// Connections of lower numbers are no more.
    cut: watch::Sender<u64>,
    /// Bytes that came from the server.
    carried: watch::Sender<u64>,
}

impl Proxy {
    /// A proxy in front of this port, which carries everything at once.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            rate: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            standing: watch::channel(0).0,
            cut: watch::channel(0).0,
            carried: watch::channel(0).0,
        });
        let accepting = tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], port)), Arc::clone(&shared)));
        Self { port: own, shared, accepting }
    }

    /// Carries so many bytes a second; 0 is without a limit.
    pub fn limit(&self, bytes: u64) {
        self.shared.rate.store(bytes, Ordering::Relaxed);
    }

    /// Resolves when so many bytes more have come from the server.
    pub async fn carried(&self, bytes: u64) {
        let until = *self.shared.carried.borrow() + bytes;
        self.shared.carried.subscribe().wait_for(|carried| *carried >= until).await.unwrap();
    }

    /// Lets every connection that there is stand still; new ones are carried.
    pub fn stand_still(&self) {
        self.shared.standing.send_replace(self.shared.accepted.load(Ordering::SeqCst));
    }

    /// Lets them go on.
    pub fn go_on(&self) {
        self.shared.standing.send_replace(0);
    }

    /// Breaks every connection that there is; new ones are carried.
    pub fn cut(&self) {
        self.shared.cut.send_replace(self.shared.accepted.load(Ordering::SeqCst));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let mut cut = shared.cut.subscribe();
            tokio::select! {
                () = carry(client, server, number, &shared) => {}
                _ = cut.wait_for(|cut| number < *cut) => {}
            }
        });
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, number: u64, shared: &Shared) {
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let up = one_way(from_client, to_server, number, shared, None);
    let down = one_way(from_server, to_client, number, shared, Some(&shared.carried));
    tokio::join!(up, down);
}

async fn one_way(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    number: u64,
    shared: &Shared,
    carried: Option<&watch::Sender<u64>>,
) {
    let (mut piece, mut standing) = (vec![0; PIECE], shared.standing.subscribe());
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        if standing.wait_for(|standing| number >= *standing).await.is_err() {
            return;
        }
        if to.write_all(&piece[..bytes]).await.is_err() {
            return;
        }
        carried.inspect(|carried| carried.send_modify(|carried| *carried += bytes as u64));
        let rate = shared.rate.load(Ordering::Relaxed);
        if rate > 0 {
            tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
        }
    }
    let _ = to.shutdown().await;
}
