//! A proxy between a store and its server that does what a bad line does, once or each time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with 503 SlowDown and reaches nobody.
    SlowDown,
    /// The connection breaks in the middle of the request's body.
    CutUpload,
    /// The connection breaks in the middle of the answer's body.
    CutDownload,
    /// The server does what it is asked to, and its answer is lost.
    LostAnswer,
}

/// A proxy in front of one server.
pub struct Proxy {
    pub port: u16,
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let faults = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self { port: listener.local_addr().unwrap().port(), faults: Arc::clone(&faults) };
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, Arc::clone(&faults)));
            }
        });
        proxy
    }

    /// Lets these happen to the next requests, one to each.
    pub fn next(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.iter().rev().copied().collect();
    }

    /// How many have not happened yet.
    pub fn left(&self) -> usize {
        self.faults.lock().unwrap().len()
    }
}

/// One request; the connection is closed after it.
async fn serve(mut client: TcpStream, server: SocketAddr, faults: Arc<Mutex<Vec<Fault>>>) -> Option<()> {
    let request = Message::read_head(&mut client).await?;
    let fault = faults.lock().unwrap().pop();
    match fault {
        Some(Fault::SlowDown) => {
            request.rest(&mut client).await?;
            let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            let head = format!("HTTP/1.1 503 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            return client.write_all(head.as_bytes()).await.ok();
        }
        Some(Fault::CutUpload) => {
            let mut half = vec![0; request.length.saturating_sub(request.body.len()) / 2];
            client.read_exact(&mut half).await.ok()?;
            return Some(());
        }
        _ => {}
    }
    let mut server = TcpStream::connect(server).await.ok()?;
    let body = request.rest(&mut client).await?;
    server.write_all(&[&request.closing(), body.as_slice()].concat()).await.ok()?;
    let answer = Message::read_head(&mut server).await?;
    let whole = answer.rest_of_answer(&mut server).await;
    match fault {
        Some(Fault::LostAnswer) => Some(()),
        Some(Fault::CutDownload) => client.write_all(&[&answer.head, &whole[..whole.len() / 2]].concat()).await.ok(),
        _ => client.write_all(&[&answer.closing(), whole.as_slice()].concat()).await.ok(),
    }
}

/// The head of a request or an answer, and what came with it of its body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
    length: usize,
}

impl Message {
    async fn read_head(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                let body = bytes.split_off(end + 4);
                let text = String::from_utf8_lossy(&bytes).to_lowercase();
                let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
                return Some(Self { head: bytes, body, length });
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The head, with the connection to be closed after it.
    fn closing(&self) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.head);
        let kept = text.trim_end().lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
        let lines: Vec<_> = kept.chain(["connection: close"]).collect();
        format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    async fn rest(&self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut body = self.body.clone();
        while body.len() < self.length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        Some(body)
    }

    /// As the server closes after it, all that comes: an answer to HEAD has a length and no body.
    async fn rest_of_answer(&self, stream: &mut TcpStream) -> Vec<u8> {
        let mut body = self.body.clone();
        let _ = stream.read_to_end(&mut body).await;
        body
    }
}
