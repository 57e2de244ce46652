//! A server of HTTP that answers from a table, for answers that no real server gives on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// An answer: status, fields of the head (each a line), body.
pub type Answer = (u16, &'static str, String);

/// A server on 127.0.0.1 that ends with the process.
#[derive(Debug)]
pub struct Canned {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Answers what `answer` says to a first line such as `GET /bucket HTTP/1.1` and a body.
    pub fn answering(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, answer.as_ref()));
            }
        });
        Self { port, heads }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// One request; the connection is closed after it.
fn serve(stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str, &str) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(&stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.lock().unwrap().push(head.clone());
    let (status, fields, text) = answer(head.lines().next()?, &String::from_utf8_lossy(&body));
    let length = text.len();
    let answer = format!("HTTP/1.1 {status} x\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{text}");
    (&stream).write_all(answer.as_bytes()).ok()
}

/// What S3 says when something is wrong.
pub fn s3_error(code: &str, message: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
}
