//! `reseed staged`: what a staged repository holds, and whether it can be restored.

mod list;
mod pipeline;
mod prune;
mod rehearse;
mod restore;
mod show;
mod verify;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use reseed_core::Error;
use reseed_core::config::Period;
use reseed_transport_s3::chain::{Chain, trusted_chains};
use reseed_transport_s3::format::{Chunk, Manifest};
use reseed_transport_s3::open;
use reseed_transport_s3::seal::Trust;
use reseed_transport_s3::store::Store;

use crate::commands::on_runtime;
use crate::{exit, human, out};

/// Arguments of `staged`.
#[derive(Debug, clap::Args)]
pub struct StagedArgs {
    /// What to do with the repository.
    #[command(subcommand)]
    pub command: StagedCommand,
}

/// What to do with a staged repository.
#[derive(Debug, clap::Subcommand)]
pub enum StagedCommand {
    /// List the chains with their sizes and ages, and up to where each can be followed.
    ///
    /// Only manifests are read; whether the chunks are there and right is for `verify` to say.
    List(ListArgs),
    /// Show one manifest: what it holds, from where, and what was known of the primary.
    Show(ShowArgs),
    /// Verify that what the chains need is there and right; exits with 1 if something is not.
    ///
    /// Each object at fault is named, and the newest manifest that can still be restored.
    Verify(VerifyArgs),
    /// Show what is not kept any more, and remove it with `--apply`, in two steps.
    ///
    /// The first call with `--apply` marks what is to go, a later one removes what was marked for the grace
    /// time, so that no get or put under way loses what it needs. Never goes: what a kept state needs, what
    /// is being put, what can't be read, and what reseed did not write. The newest state always stays.
    Prune(PruneArgs),
    /// Restore the newest state, or an earlier one: one command for the day when the primary is gone.
    ///
    /// The whole chain is received, or the increments that are missing. With `--data-directory` a server is
    /// made of it on this machine, started and proven to answer read-only queries; nothing is asked of the
    /// primary. If anything fails, all is taken back. `--print` shows the pipeline file that is run.
    Restore(RestoreArgs),
}

/// Which repository, and how the answer is given.
#[derive(Debug, clap::Args)]
pub struct RepositoryArgs {
    /// `s3://bucket/prefix` or `file:///path`.
    ///
    /// Endpoint, region, profile, CA and keys of a bucket come from the environment, as for the AWS
    /// tools: AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, AWS_CA_BUNDLE, AWS_ACCESS_KEY_ID …
    pub url: String,
    /// Public key of Ed25519 whose manifests are read, as in the repository's `trusted`; more than once for
    /// several. Without one every manifest is read, signed or not.
    #[arg(long, value_name = "KEY")]
    pub trusted: Vec<String>,
    /// Print JSON lines on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `staged list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The repository.
    #[command(flatten)]
    pub repository: RepositoryArgs,
}

/// Arguments of `staged show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The repository.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// A manifest's object, or a chain, of which the newest is shown; by default the newest of all.
    pub name: Option<String>,
}

/// Arguments of `staged verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The repository.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Read every chunk back, hash and decompress it; without this only presence and sizes are looked at.
    #[arg(long)]
    pub deep: bool,
    /// File with the secret keys of age that open what is encrypted; needed for `--deep` only.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<std::path::PathBuf>,
    /// Only this chain, named as `list` does.
    #[arg(long)]
    pub chain: Option<String>,
    /// Rehearse the restore of the newest state as well: receive it below this dataset, or directory of btrfs,
    /// start PostgreSQL on a clone, let it become consistent, have pg_amcheck read it, and remove it all.
    #[arg(long, value_name = "DATASET")]
    pub rehearse: Option<String>,
    /// Directory of `postgres`, `pg_ctl` and kin for the rehearsal; by default the usual places are searched.
    #[arg(long, value_name = "DIR", requires = "rehearse")]
    pub bin_directory: Option<String>,
}

/// Arguments of `staged prune`. At least one of what is kept must be given.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    /// The repository.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Keep so many of the newest states of each dataset.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub last: u32,
    /// Keep the newest of each day, for so many days that have one (UTC).
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub daily: u32,
    /// Keep the newest of each week, for so many weeks that have one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub weekly: u32,
    /// Keep the newest of each month, for so many months that have one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub monthly: u32,
    /// How long something stays after it was marked: longer than any get, and than any put, may take.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = period)]
    pub grace: Period,
    /// Mark and remove. Without it nothing is changed.
    #[arg(long)]
    pub apply: bool,
}

/// Arguments of `staged restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The repository.
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Where the data arrives, as `into` of the stage that receives: a dataset, or a directory of btrfs.
    #[arg(long, value_name = "DATASET")]
    pub into: String,
    /// The main dataset on the source, where the repository has chains of more than one.
    #[arg(long)]
    pub dataset: Option<String>,
    /// The manifest up to which is restored, as `list --json` and `show` name it; by default the newest.
    #[arg(long, value_name = "MANIFEST")]
    pub state: Option<String>,
    /// File with the secret keys of age that open what is encrypted.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<std::path::PathBuf>,
    /// Make a server of it, with its data in this directory: nothing may be there yet, or an old standby.
    #[arg(long, value_name = "DIR")]
    pub data_directory: Option<String>,
    /// The dataset of the server's data, where none is mounted there yet; by default DATASET-live.
    #[arg(long = "as", value_name = "DATASET", requires = "data_directory")]
    pub live: Option<String>,
    /// The server's port; by default the primary's.
    #[arg(long, requires = "data_directory")]
    pub port: Option<u16>,
    /// The server's `unix_socket_directories`; by default the primary's.
    #[arg(long, value_name = "DIR", requires = "data_directory")]
    pub sockets: Option<String>,
    /// Directory of `postgres`, `pg_ctl` and kin; by default the usual places are searched.
    #[arg(long, value_name = "DIR", requires = "data_directory")]
    pub bin_directory: Option<String>,
    /// Print the pipeline file and do nothing.
    #[arg(long)]
    pub print: bool,
}

fn period(text: &str) -> Result<Period, String> {
    serde_json::from_value(text.into()).map_err(|error: serde_json::Error| error.to_string())
}

pub(crate) fn run(args: &StagedArgs) -> u8 {
    match &args.command {
        StagedCommand::List(args) => with_chains(&args.repository, async |_, chains| Ok(list::list(&chains, args))),
        StagedCommand::Show(args) => with_chains(&args.repository, async |_, chains| Ok(show::show(&chains, args))),
        StagedCommand::Prune(args) => {
            with(&args.repository, async |store, trust| prune::prune(&store, &trust, args).await)
        }
        StagedCommand::Restore(args) => {
            let mut file = Err(exit::FAILED);
            let code = with_chains(&args.repository, async |_, chains| {
                file = restore::file(&chains, args);
                Ok(file.as_ref().err().copied().unwrap_or(exit::DONE))
            });
            file.map_or(code, |file| restore::run(&file, args))
        }
        StagedCommand::Verify(args) => {
            with_chains(&args.repository, async |store, chains| verify::verify(&store, &chains, args).await)
        }
    }
}

/// Reads the chains of a repository and works with them.
fn with_chains(args: &RepositoryArgs, work: impl AsyncFnOnce(Arc<dyn Store>, Vec<Chain>) -> Result<u8, Error>) -> u8 {
    with(args, async |store, trust| {
        let chains = trusted_chains(store.as_ref(), &trust).await?;
        work(store, chains).await
    })
}

/// Opens a repository and works with it.
fn with(args: &RepositoryArgs, work: impl AsyncFnOnce(Arc<dyn Store>, Trust) -> Result<u8, Error>) -> u8 {
    let store = match open(&args.url, &|name| std::env::var(name).ok()) {
        Ok(store) => store,
        Err(error) => return tell(&error, exit::WRONG),
    };
    let trust = match Trust::parse(args.trusted.iter().map(String::as_str)) {
        Ok(trust) => trust,
        Err(why) => return tell(&Error::refused(why).hint(OF_TRUSTED), exit::WRONG),
    };
    on_runtime(async { work(store, trust).await.unwrap_or_else(|error| tell(&error, exit::FAILED)) })
}

const OF_TRUSTED: &str = "`openssl pkey -in key -pubout | sed -n 2p` tells the public key";

fn tell(error: &Error, code: u8) -> u8 {
    out::error(&error.chain(), error.hint_text());
    code
}

/// That there is no such chain or manifest, and which there are.
fn unknown(name: &str, url: &str, chains: &[Chain]) -> u8 {
    let known: Vec<_> = chains.iter().map(|chain| chain.name.as_str()).collect();
    let hint = match known.is_empty() {
        true => "there are no chains; has s3-put run, and is the address right?".to_owned(),
        false => format!("chains there: {}", known.join(", ")),
    };
    out::error(&format!("there is no {name} in {url}"), Some(&hint));
    exit::WRONG
}

fn chunks(manifest: &Manifest) -> Vec<Chunk> {
    manifest.stored().into_iter().flat_map(|stream| stream.chunks).collect()
}

/// Bytes as they are stored.
fn stored(manifest: &Manifest) -> u64 {
    chunks(manifest).iter().map(|chunk| chunk.stored).sum()
}

/// Bytes of the streams.
fn size(manifest: &Manifest) -> u64 {
    manifest.streams.iter().map(|stream| stream.size).sum()
}

/// How long ago that was, with the precision that people use.
fn ago(created: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match now.saturating_sub(created) {
        seconds @ 0..172_800 => format!("{} ago", human::seconds(seconds as f64)),
        seconds => format!("{} ago", human::count((seconds / 86_400) as usize, "day")),
    }
}
