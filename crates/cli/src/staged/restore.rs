//! `reseed staged restore`.

use reseed_core::{Error, registry};
use reseed_transport_s3::chain::{Chain, Link};

use super::pipeline::{Restore, Server, quoted};
use super::{RestoreArgs, unknown};
use crate::{commands, exit, out};

/// The pipeline file, or the exit code where there is nothing to restore.
pub(super) fn file(chains: &[Chain], args: &RestoreArgs) -> Result<String, u8> {
    let link = newest(chains, args.state.as_deref(), args.dataset.as_deref());
    let Some(link) = link.map_err(|error| super::tell(&error, exit::WRONG))? else {
        return Err(unknown(args.state.as_deref().unwrap_or("state to restore"), &args.repository.url, chains));
    };
    let server = args.data_directory.as_deref().map(|data_directory| Server {
        data_directory,
        bin_directory: args.bin_directory.as_deref(),
        settings: args.settings(),
        places: String::new(),
        checked: false,
    });
    let (storage, receive) = (&link.manifest.storage, format!("{}-receive", link.manifest.storage));
    if !registry::stages().iter().any(|stage| stage.name == receive) {
        let error =
            Error::refused(format!("nothing here restores copies of `{storage}`: there is no stage `{receive}`"));
        let hint =
            "write a pipeline file with `s3-get` and the stage that receives them; `reseed stages` lists the stages";
        return Err(super::tell(&error.hint(hint), exit::REFUSED));
    }
    let live = args.live.clone().unwrap_or_else(|| format!("{}-live", args.into));
    let restore = Restore {
        name: "restore",
        url: &args.repository.url,
        identity: args.identity.as_deref(),
        trusted: &args.repository.trusted,
        storage: &link.manifest.storage,
        state: link.key.as_str(),
        into: &args.into,
        live: (!args.into.starts_with('/')).then_some(&*live),
        server,
    };
    Ok(restore.text(&|name| std::env::var(name).ok()))
}

/// The manifest of this name; by default the newest, of the dataset that is named or is the only one.
pub(super) fn newest<'c>(
    chains: &'c [Chain],
    state: Option<&str>,
    dataset: Option<&str>,
) -> Result<Option<&'c Link>, Error> {
    if let Some(state) = state {
        return Ok(chains.iter().flat_map(|chain| &chain.links).find(|link| link.key.as_str() == state));
    }
    let fitting = || chains.iter().filter(|chain| dataset.is_none_or(|dataset| chain.dataset() == Some(dataset)));
    let mut datasets: Vec<_> = fitting().filter_map(Chain::dataset).collect();
    datasets.sort_unstable();
    datasets.dedup();
    if datasets.len() > 1 {
        let error = Error::refused("the repository has chains of several datasets");
        return Err(error.hint(format!("name one with `--dataset`: {}", datasets.join(", "))));
    }
    Ok(fitting().filter_map(Chain::newest).max_by(|one, other| one.order().cmp(&other.order())))
}

/// Runs it, or shows it.
pub(super) fn run(file: &str, args: &RestoreArgs) -> u8 {
    if args.print {
        out::data(file);
        return exit::DONE;
    }
    let code = commands::run::text("restore", file, args.talk());
    if code == exit::DONE && !args.repository.json {
        out::talk(&match &args.data_directory {
            Some(directory) => {
                format!("it answers read-only queries; to make a primary of it: pg_ctl promote -D {directory}")
            }
            None => format!("the data is in {}; with --data-directory a server is made of it", args.into),
        });
    }
    code
}

impl RestoreArgs {
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("hot_standby", quoted("on"))];
        settings.extend(self.port.map(|port| ("port", port.to_string())));
        settings.extend(self.sockets.as_deref().map(|sockets| ("unix_socket_directories", quoted(sockets))));
        settings
    }

    fn talk(&self) -> crate::args::TalkArgs {
        crate::args::TalkArgs { json: self.repository.json, ..Default::default() }
    }
}
