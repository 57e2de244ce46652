//! `reseed staged verify --rehearse`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reseed_core::{Error, Result};
use reseed_pg::facts::Source;
use reseed_transport_s3::chain::Chain;
use reseed_transport_s3::format::Manifest;

use super::pipeline::{Restore, Server, quoted};
use super::restore::newest;
use super::{VerifyArgs, unknown};
use crate::args::TalkArgs;
use crate::{commands, exit, out};

/// The first version that has pg_amcheck.
const AMCHECK: u32 = 14;

/// Receives the newest state below this dataset, makes a server of it, looks at that, and removes it all.
pub(super) async fn rehearse(chains: &[Chain], below: &str, args: &VerifyArgs) -> Result<u8> {
    let Some(link) = newest(chains, None, None)? else {
        return Ok(unknown("state to restore", &args.repository.url, chains));
    };
    let name = format!("reseed-rehearsal-{}", reseed_core::run_id());
    let below = below.trim_end_matches('/');
    // A storage that is named by paths makes its clones where the copies are.
    let by_path = below.starts_with('/');
    let (into, directory) = match by_path {
        true => (format!("{below}/{name}/copies"), PathBuf::from(below).join(&name)),
        false => (format!("{below}/{name}"), std::env::temp_dir().join(&name)),
    };
    let source: Option<Source> = link.manifest.facts.get()?;
    let scratch = Scratch::make(directory, &link.manifest)?;
    let place = source.as_ref().map(|source| Place::of(source, &scratch)).transpose()?;
    let live = format!("{into}-live");
    let restore = Restore {
        name: "rehearsal",
        url: &args.repository.url,
        identity: args.identity.as_deref(),
        trusted: &args.repository.trusted,
        storage: &link.manifest.storage,
        state: link.key.as_str(),
        into: &into,
        live: (!by_path).then_some(&*live),
        server: place.as_ref().map(|place| place.server(args.bin_directory.as_deref())),
    };
    let talk = TalkArgs { json: args.repository.json, ..TalkArgs::default() };
    let code = commands::run::rehearse("rehearsal", &restore.text(&|name| std::env::var(name).ok()), talk).await;
    scratch.remove();
    if code == exit::DONE && !talk.json {
        let what = if place.is_some() { "a server was made of it, and " } else { "" };
        out::data(&format!("{}: rehearsed: it was received, {what}all of that is removed\n", link.key));
    }
    Ok(code)
}

/// A directory in which the source's mount points are found again, each by its whole path. Nobody else uses
/// it, and it is gone afterwards.
struct Scratch {
    root: PathBuf,
    /// Every directory of it, those above first.
    made: Vec<PathBuf>,
}

impl Scratch {
    fn make(root: PathBuf, manifest: &Manifest) -> Result<Self> {
        let mut scratch = Self { made: vec![], root };
        scratch.add(&scratch.root.clone())?;
        let streams = manifest.streams.iter().map(|stream| stream.mountpoint.as_str());
        let points: Vec<_> = streams.chain(manifest.left_out.iter().map(|left| left.mountpoint.as_str())).collect();
        let inside = |point: &str| points.iter().any(|other| *other != point && Path::new(point).starts_with(other));
        for point in points.iter().filter(|point| !inside(point)) {
            let above = Path::new(scratch.path(point).as_str()).parent().map(Path::to_owned);
            above.map_or(Ok(()), |above| scratch.add(&above))?;
        }
        Ok(scratch)
    }

    /// Makes a directory, and those above it. The server runs as another user, and writes its log there.
    fn add(&mut self, directory: &Path) -> Result<()> {
        let missing: Vec<_> = directory.ancestors().take_while(|above| !above.exists()).collect();
        for one in missing.into_iter().rev() {
            std::fs::create_dir(one)?;
            self.made.push(one.to_owned());
            std::fs::set_permissions(one, std::fs::Permissions::from_mode(0o1777))?;
        }
        Ok(())
    }

    /// Where a path of the source is found in it.
    fn path(&self, source: &str) -> String {
        self.root.join(source.trim_start_matches('/')).to_string_lossy().into_owned()
    }

    /// Removes what was made, with the files in it and empty directories; never what lies deeper, which could
    /// be somebody's data.
    fn remove(self) {
        for directory in self.made.iter().rev() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let _ =
                    if is_directory { std::fs::remove_dir(entry.path()) } else { std::fs::remove_file(entry.path()) };
            }
            if let Err(error) = std::fs::remove_dir(directory) {
                out::talk(&format!("{} stays: {error}", directory.display()));
            }
        }
    }
}

/// Where a server of a rehearsal lies, and how it is kept to itself.
struct Place {
    data_directory: String,
    settings: Vec<(&'static str, String)>,
    places: String,
    checked: bool,
}

impl Place {
    fn of(source: &Source, scratch: &Scratch) -> Result<Self> {
        let layout = &source.layout;
        let wal = layout.wal_directory.iter();
        let wal = wal.map(|wal| format!("wal_directory = {}\n", quoted(&scratch.path(wal))));
        let spaces = layout.tablespaces.iter().map(|space| &space.path);
        let spaces: Vec<_> = spaces.map(|path| format!("{} = {}", quoted(path), quoted(&scratch.path(path)))).collect();
        let spaces = match spaces.is_empty() {
            true => String::new(),
            false => format!("tablespace_mapping = {{ {} }}\n", spaces.join(", ")),
        };
        let places = wal.chain([spaces]).collect();
        let data_directory = scratch.path(&layout.data_directory);
        let settings = vec![
            ("port", free_port()?.to_string()),
            ("unix_socket_directories", quoted(&scratch.root.to_string_lossy())),
            // Nobody connects to it, and it takes nothing from and gives nothing to anyone.
            ("listen_addresses", quoted("")),
            ("archive_mode", quoted("off")),
            ("hot_standby", quoted("on")),
            ("logging_collector", quoted("off")),
            ("shared_buffers", quoted("64MB")),
        ];
        Ok(Self { data_directory, settings, places, checked: source.major() >= AMCHECK })
    }

    fn server<'a>(&'a self, bin_directory: Option<&'a str>) -> Server<'a> {
        Server {
            data_directory: &self.data_directory,
            bin_directory,
            settings: self.settings.clone(),
            places: self.places.clone(),
            checked: self.checked,
        }
    }
}

/// A port that is free now: its number is in the name of the server's socket, and nobody listens on it.
fn free_port() -> Result<u16> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|error| Error::failed("there is no free port").because(error))
}
