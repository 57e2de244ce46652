//! `reseed staged verify`.

use std::path::Path;
use std::sync::Arc;

use reseed_core::Error;
use reseed_transport_s3::chain::Chain;
use reseed_transport_s3::seal::Identities;
use reseed_transport_s3::store::Store;
use reseed_transport_s3::verify::{self, Depth, Verdict};
use serde_json::json;

use super::{VerifyArgs, rehearse, tell, unknown};
use crate::human::{bytes, count};
use crate::{exit, out};

pub(super) async fn verify(store: &Arc<dyn Store>, chains: &[Chain], args: &VerifyArgs) -> Result<u8, Error> {
    let wanted = |chain: &&Chain| args.chain.as_ref().is_none_or(|name| *name == chain.name);
    let chosen: Vec<_> = chains.iter().filter(wanted).collect();
    // That nothing is wrong with nothing is no comfort to anyone.
    if chosen.is_empty() {
        return Ok(unknown(args.chain.as_deref().unwrap_or("chain"), &args.repository.url, chains));
    }
    let depth = if args.deep { Depth::Deep } else { Depth::Shallow };
    let identities = match args.identity.as_deref().map(identities).transpose() {
        Ok(identities) => identities.unwrap_or_default(),
        Err(error) => return Ok(tell(&error, exit::WRONG)),
    };
    let mut whole = true;
    for chain in &chosen {
        let verdict = verify::verify_with(store, chain, depth, &identities).await?;
        whole &= verdict.broken.is_empty();
        match args.repository.json {
            true => out::data(&format!("{}\n", json(chain, &verdict, args.deep))),
            false => out::data(&text(chain, &verdict, args.deep)),
        }
    }
    let verified = if whole { exit::DONE } else { exit::FAILED };
    match &args.rehearse {
        None => Ok(verified),
        Some(below) => {
            let chains: Vec<_> = chosen.into_iter().cloned().collect();
            let rehearsed = rehearse::rehearse(&chains, below, args).await?;
            Ok(if rehearsed == exit::DONE { verified } else { rehearsed })
        }
    }
}

/// The secret keys of a file. What is in it never shows.
fn identities(file: &Path) -> Result<Identities, Error> {
    let wrong = |why: String| Error::refused(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Identities::parse(&text).map_err(|why| wrong(why).hint("`age-keygen -o FILE` writes one"))
}

fn json(chain: &Chain, verdict: &Verdict, deep: bool) -> serde_json::Value {
    let broken: Vec<_> =
        verdict.broken.iter().map(|broken| json!({ "object": broken.object, "why": broken.why })).collect();
    json!({
        "chain": chain.name,
        "deep": deep,
        "ok": broken.is_empty(),
        "manifests": chain.links.len(),
        "chunks": verdict.chunks,
        "stored_bytes": verdict.stored,
        "restorable": verdict.restorable,
        "broken": broken,
    })
}

fn text(chain: &Chain, verdict: &Verdict, deep: bool) -> String {
    let (manifests, chunks) = (count(chain.links.len(), "manifest"), count(verdict.chunks, "chunk"));
    let how = if deep { "read back" } else { "there, with their sizes" };
    let stored = bytes(verdict.stored);
    if verdict.broken.is_empty() {
        return format!("{}: whole: {manifests}, {chunks}, {stored}, all {how}\n", chain.name);
    }
    let mut text = format!("{}: broken: {}\n", chain.name, count(verdict.broken.len(), "object"));
    for broken in &verdict.broken {
        text.push_str(&format!("  {}: {}\n", broken.object, broken.why));
    }
    text.push_str(&match &verdict.restorable {
        Some(manifest) => format!("  can be restored up to {manifest}\n"),
        None => "  nothing of it can be restored\n".to_owned(),
    });
    text
}
