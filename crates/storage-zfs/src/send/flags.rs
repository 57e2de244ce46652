//! How blocks are sent: the flags of `zfs send`, the same for a whole chain.
//!
//! A chain is what one copy was received by: a whole stream and the increments on top of it. Sending a
//! later increment in another way than the earlier ones has damaged copies under some versions of ZFS,
//! so a copy says by which flags it came (`reseed:flags`), and its increments use just these.

use reseed_core::config::Located;
use reseed_core::stage::CheckCx;
use reseed_core::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::known::receiving;
use crate::parse::Features;
use crate::shared::Chains;
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

    /// The flags for one dataset: of its chain where an increment goes on with one, else all that both
    /// sides know, or none where others may take the same stream.
    pub(super) async fn flags(
        &self,
        zfs: &Zfs,
        dataset: &str,
        increment: bool,
        cx: &CheckCx,
    ) -> Result<Vec<&'static str>> {
        let mut can = self.mine.send_flags(&self.theirs);
        let raw = self.encrypted == Some(Encrypted::Raw) && is_encrypted(zfs, dataset).await?;
        let fresh = if self.shared { vec![] } else { can.clone() };
        let wanted: Vec<_> = fresh.into_iter().chain(raw.then_some(RAW)).collect();
        can.extend(self.mine.raw.then_some(RAW));
        let Some(chain) = Chains::of(cx, dataset).filter(|_| increment) else { return Ok(wanted) };
        go_on(&chain.flags, &wanted, &can).map_err(|why| {
            let hint = format!("a new chain begins when the copy is gone: `zfs destroy -r {}`", chain.dataset);
            Error::failed(format!("{dataset} can't be sent as its copy {} was begun: {why}", chain.dataset)).hint(hint)
        })
    }

    /// Refuses to send what is encrypted unless the file says how.
    pub(super) async fn judge(&self, zfs: &Zfs, dataset: &str) -> Result<()> {
        if !is_encrypted(zfs, dataset).await? {
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
const RAW: &str = "-w";

async fn is_encrypted(zfs: &Zfs, dataset: &str) -> Result<bool> {
    // An old `zfs` does not know the property, and encrypts nothing.
    let property = zfs.properties(dataset, "encryption").await.unwrap_or_default().remove("encryption");
    Ok(property.is_some_and(|property| !["off", "-", ""].contains(&property.value.as_str())))
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

/// The flags as a copy remembers them; `-` for none.
pub(super) fn remembered(flags: &[&'static str]) -> String {
    if flags.is_empty() { "-".to_owned() } else { flags.join(" ") }
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

    #[test]
    fn a_copy_remembers_that_there_were_none() {
        assert_eq!(remembered(&[]), "-");
        assert_eq!(remembered(&["-L", "-c"]), "-L -c");
    }
}
