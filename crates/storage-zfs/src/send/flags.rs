//! How blocks are sent: the flags of `zfs send`, the record size and the key, the same for a whole chain.
//!
//! A chain is what one copy was received by: a whole stream and the increments on top of it. Sending a
//! later increment in another way than the earlier ones has damaged copies under some versions of ZFS,
//! so a copy says by which flags it came (`reseed:flags`), and its increments use just these. Of which record
//! size its source was, and, where it comes raw, with which key, it says too (`reseed:recordsize`, `reseed:key`):
//! where those are others now, a new chain must begin.

use reseed_core::config::Located;
use reseed_core::stage::{CheckCx, Holdings};
use reseed_core::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::known::receiving;
use crate::check;
use crate::made::Made;
use crate::parse::Features;
use crate::shared::ReceivePlan;
use crate::zfs::Zfs;

/// How encrypted datasets are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Encrypted {
    /// As they are: the target never sees the key, and needs it loaded to mount a copy.
    Raw,
    /// Decrypted: the target gets the plain content.
    Clear,
}

/// What decides about the flags, apart from the dataset.
#[derive(Debug)]
pub(super) struct Means {
    mine: Features,
    theirs: Features,
    /// Whether one stream may be for several branches: what begins with it is sent as every `zfs` takes it.
    shared: bool,
    encrypted: Option<Encrypted>,
}

impl Means {
    /// What both sides' `zfs` can do. A receiver that can't be asked is taken for an old one.
    pub(super) async fn of(zfs: &Zfs, encrypted: &Option<Located<Encrypted>>, cx: &CheckCx) -> Result<Self> {
        let theirs = match cx.next_host() {
            Some(host) => receiving(&host, cx).features().await?,
            None => Features::default(),
        };
        let (mine, shared) = (zfs.features().await?, cx.branch().is_some());
        Ok(Self { mine, theirs, shared, encrypted: encrypted.as_ref().map(|way| **way) })
    }

    /// How one dataset is sent: as what the target holds was made where an increment goes on with that, else by all
    /// flags that both sides know, or none where others may take the same stream.
    pub(super) async fn way(&self, zfs: &Zfs, dataset: &str, chain: Option<&Holdings>, cx: &CheckCx) -> Result<Way> {
        let mut can = self.mine.send_flags(&self.theirs);
        let source = self.source(zfs, dataset).await?;
        let raw = self.encrypted == Some(Encrypted::Raw) && source.encrypted;
        let fresh = if self.shared { vec![] } else { can.clone() };
        let wanted: Vec<_> = fresh.into_iter().chain(raw.then_some(RAW)).collect();
        can.extend(self.mine.raw.then_some(RAW));
        let key = if raw { key(zfs, dataset).await } else { None };
        let now = Way { flags: wanted, recordsize: source.recordsize, key };
        let Some((held, made)) = chain.and_then(|held| Some((held, held.made(dataset)?))) else { return Ok(now) };
        match now.going_on(&Made::read(made), &can) {
            Ok(way) => Ok(way),
            Err(why) => Err(another_chain(dataset, &why, held, cx).await?),
        }
    }

    /// What of a dataset decides how it is sent.
    async fn source(&self, zfs: &Zfs, dataset: &str) -> Result<Sent> {
        // An old `zfs` does not know encryption, and encrypts nothing.
        let which = if self.mine.raw { "encryption,recordsize" } else { "recordsize" };
        let mut told = zfs.properties(dataset, which).await?;
        let mut take =
            |name| told.remove(name).map(|own| own.value).filter(|value| !["", "-"].contains(&value.as_str()));
        let encrypted = take("encryption").is_some_and(|encryption| encryption != "off");
        Ok(Sent { encrypted, recordsize: take("recordsize") })
    }

    /// Refuses to send what is encrypted unless the file says how.
    pub(super) async fn judge(&self, zfs: &Zfs, dataset: &str) -> Result<()> {
        if !self.source(zfs, dataset).await?.encrypted {
            return Ok(());
        }
        let host = zfs.host().name();
        match self.encrypted {
            None => {
                let error =
                    Error::refused(format!("{dataset} on {host} is encrypted, and nothing says how to send it"));
                Err(error.hint(
                    "say `encrypted = \"raw\"` in the stage zfs-send, so that the target never sees the key, or \
                     `encrypted = \"clear\"` for the plain content",
                ))
            }
            Some(Encrypted::Raw) if !self.mine.raw => {
                let error = Error::refused(format!("`zfs` on {host} can't send raw"));
                Err(error.hint("leave `encrypted = \"raw\"` out of the stage zfs-send"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// `zfs send -w`.
pub(super) const RAW: &str = "-w";

/// What of a dataset decides how it is sent.
#[derive(Debug)]
struct Sent {
    encrypted: bool,
    recordsize: Option<String>,
}

/// The refusal to go on with what the target holds, with what makes way for a new chain.
async fn another_chain(dataset: &str, why: &str, held: &Holdings, cx: &CheckCx) -> Result<Error> {
    let copy = cx.board().get::<ReceivePlan>();
    let copy = copy.iter().flat_map(|plan| &plan.datasets).find(|(part, _)| part.dataset == dataset);
    let name = copy.map_or(&held.target, |(_, copy)| copy);
    let error = Error::failed(format!("{dataset} can't be sent as its copy {name} was begun: {why}"));
    let anew = match (held.anew, copy, cx.next_host()) {
        (Some(anew), ..) => anew.to_owned(),
        (None, Some((_, copy)), Some(host)) => {
            let commands = check::makes_way(&receiving(&host, cx), copy).await?;
            format!("a new chain begins, with a new full, when the copy is gone: {commands}")
        }
        _ => "a new chain begins, with a new full, when the copy is gone".to_owned(),
    };
    Ok(error.hint(anew))
}

/// Identity of the key by which the blocks of a dataset are encrypted, which `zfs change-key` does not change.
async fn key(zfs: &Zfs, dataset: &str) -> Option<String> {
    let told = zfs.properties(dataset, KEY).await.ok()?.remove(KEY)?;
    told.value.parse().ok().map(|guid: u64| format!("{guid:016x}"))
}

/// The property that tells it. `zfs` hides it where nobody asks for it.
const KEY: &str = "keyguid";

/// How one dataset is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Flags of `zfs send`.
    pub(super) flags: Vec<&'static str>,
    /// Its record size.
    recordsize: Option<String>,
    /// Identity of its key, where it is sent raw.
    key: Option<String>,
}

impl Way {
    /// As what a copy remembers it.
    pub(super) fn made(&self) -> Made {
        let flags = if self.flags.is_empty() { "-".to_owned() } else { self.flags.join(" ") };
        Made { flags, recordsize: self.recordsize.clone(), key: self.key.clone() }
    }

    /// The way of a chain, if it can be gone on with. `can` are the flags that both sides know. What a copy does
    /// not say, because an earlier reseed began it, is taken to be as it is now.
    fn going_on(self, chain: &Made, can: &[&'static str]) -> Result<Self, String> {
        let flags = go_on(&chain.flags, &self.flags, can)?;
        if let Some((was, is)) = other(&chain.recordsize, &self.recordsize) {
            return Err(format!("its recordsize was {was} then, and is {is} now"));
        }
        if let Some((was, is)) = other(&chain.key, &self.key) {
            return Err(format!("it was encrypted by the key {was} then, and is by {is} now"));
        }
        Ok(Self { flags, ..self })
    }
}

/// Both, where both are known and differ.
fn other<'a>(was: &'a Option<String>, is: &'a Option<String>) -> Option<(&'a String, &'a String)> {
    was.as_ref().zip(is.as_ref()).filter(|(was, is)| was != is)
}

/// The flags of a chain, if both sides can go on with them.
fn go_on(chain: &str, wanted: &[&'static str], can: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let mut flags = vec![];
    for flag in chain.split_whitespace().filter(|flag| *flag != "-") {
        let known = can.iter().find(|known| **known == flag);
        flags.push(*known.ok_or_else(|| format!("it came by `zfs send {flag}`, which not both sides know now"))?);
    }
    match (flags.contains(&RAW), wanted.contains(&RAW)) {
        (true, false) => Err("it came raw, and is to be sent in the clear now".to_owned()),
        (false, true) => Err("it came in the clear, and is to be sent raw now".to_owned()),
        _ => Ok(flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_on_as_it_was_begun_or_not_at_all() {
        let all = ["-L", "-e", "-c", "-w"];
        // What is new on both sides does not change a chain.
        assert_eq!(go_on("-L", &["-L", "-e", "-c"], &all), Ok(vec!["-L"]));
        assert_eq!(go_on("", &["-L"], &all), Ok(vec![]));
        assert_eq!(go_on("-L -e -c -w", &["-L", "-e", "-c", "-w"], &all), Ok(all.to_vec()));
        assert!(go_on("-L -c", &["-L"], &["-L"]).unwrap_err().contains("-c"));
        assert!(go_on("-L -w", &["-L"], &all).unwrap_err().contains("in the clear now"));
        assert!(go_on("-L", &["-L", "-w"], &all).unwrap_err().contains("raw now"));
    }

    fn way(flags: &[&'static str], recordsize: &str, key: Option<&str>) -> Way {
        Way { flags: flags.to_vec(), recordsize: Some(recordsize.to_owned()), key: key.map(str::to_owned) }
    }

    #[test]
    fn a_copy_remembers_how_it_came() {
        let chain = way(&[], "16384", None).made();
        assert_eq!((chain.flags.as_str(), chain.recordsize.as_deref(), chain.key), ("-", Some("16384"), None));
        let chain = way(&["-L", "-w"], "131072", Some("a")).made();
        assert_eq!((chain.flags.as_str(), chain.key.as_deref()), ("-L -w", Some("a")));
    }

    #[test]
    fn another_record_size_and_another_key_end_a_chain() {
        let all = ["-L", "-w"];
        let chain = way(&all, "16384", Some("a")).made();
        let on = |is: Way, chain: &Made| is.going_on(chain, &all);
        assert_eq!(on(way(&all, "16384", Some("a")), &chain), Ok(way(&all, "16384", Some("a"))));
        assert!(
            on(way(&all, "8192", Some("a")), &chain).unwrap_err().contains("recordsize was 16384 then, and is 8192")
        );
        assert!(on(way(&all, "16384", Some("b")), &chain).unwrap_err().contains("the key a then"));
        // A copy of an earlier reseed says nothing of them.
        let old = Made { recordsize: None, key: None, ..chain };
        assert_eq!(on(way(&all, "8192", Some("b")), &old), Ok(way(&all, "8192", Some("b"))));
    }
}
