//! A proxy between a store and its server that does what a bad line does, once or each time, and keeps what
//! it saw.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with 503 SlowDown and reaches nobody.
    SlowDown,
    /// It is answered with 500 InternalError and reaches nobody.
    Broken,
    /// It is answered as one whose clock is wrong.
    Skewed,
    /// The connection breaks in the middle of the request's body.
    CutUpload,
    /// A bit of the request's body is another one when it arrives.
    FlippedUpload,
    /// In the middle of the request's body nobody reads any more.
    StalledUpload,
    /// The connection breaks in the middle of the answer's body.
    CutDownload,
    /// The answer's body is only half as long, and so is what its head says.
    ShortDownload,
    /// A bit of the answer's body is another one when it arrives.
    FlippedDownload,
    /// In the middle of the answer's body nothing comes any more.
    StalledDownload,
    /// The server does what it is asked to, and its answer is lost.
    LostAnswer,
}

/// What happens to the requests to come; in the last place, to every one after them.
#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Option<Fault>>,
    then: Option<Fault>,
    heads: Vec<String>,
}

/// A proxy in front of one server.
pub struct Proxy {
    pub port: u16,
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    pub async fn before(port: u16) -> Self {
        Self::lead_to(Some(SocketAddr::from(([127, 0, 0, 1], port)))).await
    }

    /// One with no server behind it, which says yes to everything.
    pub async fn alone() -> Self {
        Self::lead_to(None).await
    }

    async fn lead_to(server: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plan = Arc::new(Mutex::new(Plan::default()));
        let proxy = Self { port: listener.local_addr().unwrap().port(), plan: Arc::clone(&plan) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, Arc::clone(&plan)));
            }
        });
        proxy
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets these happen to the next requests, one to each.
    pub fn next(&self, faults: &[Fault]) {
        self.set(faults.iter().copied().map(Some).collect(), None);
    }

    /// Lets this happen to one request, after so many others.
    pub fn at(&self, after: usize, fault: Fault) {
        self.set((0..after).map(|_| None).chain([Some(fault)]).collect(), None);
    }

    /// Lets this happen to every request after so many others.
    pub fn from(&self, after: usize, fault: Fault) {
        self.set((0..after).map(|_| None).collect(), Some(fault));
    }

    /// Lets all requests through.
    pub fn calm(&self) {
        self.set(VecDeque::new(), None);
    }

    fn set(&self, next: VecDeque<Option<Fault>>, then: Option<Fault>) {
        let mut plan = self.plan.lock().unwrap();
        (plan.next, plan.then) = (next, then);
    }

    /// How many have not happened yet.
    pub fn left(&self) -> usize {
        self.plan.lock().unwrap().next.iter().flatten().count()
    }

    /// The heads of all requests since the last call, in small letters but for their first line.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.plan.lock().unwrap().heads)
    }
}

/// One request; the connection is closed after it.
async fn serve(mut client: TcpStream, server: Option<SocketAddr>, plan: Arc<Mutex<Plan>>) -> Option<()> {
    let request = Message::read_head(&mut client).await?;
    let fault = {
        let mut plan = plan.lock().unwrap();
        plan.heads.push(request.text());
        plan.next.pop_front().unwrap_or(plan.then)
    };
    if let Some(answer) = fault.and_then(refusal) {
        request.rest(&mut client).await?;
        return client.write_all(&answer).await.ok();
    }
    if matches!(fault, Some(Fault::CutUpload | Fault::StalledUpload)) {
        let mut half = vec![0; request.length.saturating_sub(request.body.len()) / 2];
        client.read_exact(&mut half).await.ok()?;
        if fault == Some(Fault::StalledUpload) {
            stand_still(client).await;
        }
        return Some(());
    }
    let mut body = request.rest(&mut client).await?;
    if fault == Some(Fault::FlippedUpload) {
        flip(&mut body);
    }
    let Some(server) = server else {
        let yes = "HTTP/1.1 200 x\r\netag: \"x\"\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx";
        return client.write_all(yes.as_bytes()).await.ok();
    };
    let mut server = TcpStream::connect(server).await.ok()?;
    server.write_all(&[&request.closing(), body.as_slice()].concat()).await.ok()?;
    let answer = Message::read_head(&mut server).await?;
    let mut whole = answer.rest_of_answer(&mut server).await;
    match fault {
        Some(Fault::LostAnswer) => Some(()),
        Some(Fault::CutDownload) => client.write_all(&[&answer.head, &whole[..whole.len() / 2]].concat()).await.ok(),
        Some(Fault::StalledDownload) if !whole.is_empty() => {
            client.write_all(&[&answer.head, &whole[..whole.len() / 2]].concat()).await.ok()?;
            stand_still(client).await;
            Some(())
        }
        Some(Fault::ShortDownload) => {
            let half = &whole[..whole.len() / 2];
            let head = format!("HTTP/1.1 200 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", half.len());
            client.write_all(&[head.as_bytes(), half].concat()).await.ok()
        }
        Some(Fault::FlippedDownload) => {
            flip(&mut whole);
            client.write_all(&[&answer.closing(), whole.as_slice()].concat()).await.ok()
        }
        _ => client.write_all(&[&answer.closing(), whole.as_slice()].concat()).await.ok(),
    }
}

/// The answer of a fault that reaches nobody.
fn refusal(fault: Fault) -> Option<Vec<u8>> {
    let (status, code, message) = match fault {
        Fault::SlowDown => (503, "SlowDown", "Please reduce your request rate."),
        Fault::Broken => (500, "InternalError", "We encountered an internal error. Please try again."),
        Fault::Skewed => {
            (403, "RequestTimeTooSkewed", "The difference between the request time and ours is too large.")
        }
        _ => return None,
    };
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    Some(head.into_bytes())
}

fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    body.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
}

/// Keeps the connection open and does nothing, until the other side has gone.
async fn stand_still(client: TcpStream) {
    let gone = async {
        let mut byte = [0; 1];
        while client.peek(&mut byte).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), gone).await;
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

    /// The head as text, with the names of its fields in small letters.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.head);
        let small = |line: &str| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
            None => line.to_owned(),
        };
        text.lines().map(small).collect::<Vec<_>>().join("\n")
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
