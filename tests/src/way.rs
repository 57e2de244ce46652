//! A way to a server on which what crosses it is counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

type Counts = Mutex<BTreeMap<String, usize>>;

/// A way to an S3 server of this machine.
#[derive(Debug)]
pub struct Way {
    /// The port on which it begins.
    pub port: u16,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    sent: Counts,
    fetched: Counts,
    silent: AtomicBool,
}

impl Way {
    /// To the server on this port.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let seen = Arc::clone(&way.seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (seen, mute) = (Arc::clone(&seen), Arc::<AtomicBool>::default());
                let muted = Arc::clone(&mute);
                std::thread::spawn(move || answers(back_from, back_to, &muted));
                std::thread::spawn(move || requests(client, server, |line| seen.note(line, &mute)));
            }
        });
        way
    }

    /// How often each chunk was sent to the server.
    pub fn sent(&self) -> BTreeMap<String, usize> {
        self.seen.sent.lock().unwrap().clone()
    }

    /// How often each chunk was asked for.
    pub fn fetched(&self) -> BTreeMap<String, usize> {
        self.seen.fetched.lock().unwrap().clone()
    }

    /// Whether, from now on, nobody hears that a manifest was written.
    pub fn be_silent(&self, silent: bool) {
        self.seen.silent.store(silent, Ordering::SeqCst);
    }
}

impl Seen {
    /// Notes a request by its first line.
    fn note(&self, line: &str, mute: &AtomicBool) {
        let mut words = line.split([' ', '?']);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
        if method == "PUT" && path.contains("/manifests/") && self.silent.load(Ordering::SeqCst) {
            mute.store(true, Ordering::SeqCst);
        }
        let counts = match method {
            "PUT" => &self.sent,
            "GET" => &self.fetched,
            _ => return,
        };
        if let Some(at) = path.find("/chunks/") {
            *counts.lock().unwrap().entry(path[at + 1..].to_owned()).or_default() += 1;
        }
    }
}

/// Passes answers on, unless they are not to be heard.
fn answers(mut server: TcpStream, mut client: TcpStream, muted: &AtomicBool) -> Option<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = server.read(&mut bytes).ok().filter(|read| *read > 0)?;
        if !muted.load(Ordering::SeqCst) {
            client.write_all(&bytes[..read]).ok()?;
        }
    }
}

/// Passes requests on, one after another; the first line of each is told before.
fn requests(client: TcpStream, mut server: TcpStream, told: impl Fn(&str)) -> Option<()> {
    let mut client = BufReader::new(client);
    loop {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let begin = head.len();
            if client.read_until(b'\n', &mut head).ok()? == 0 {
                return server.shutdown(std::net::Shutdown::Write).ok();
            }
            let line = String::from_utf8_lossy(&head[begin..]).trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        told(String::from_utf8_lossy(&head).lines().next()?);
        server.write_all(&head).ok()?;
        std::io::copy(&mut client.by_ref().take(length), &mut server).ok()?;
    }
}
