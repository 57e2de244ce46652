//! Room where copies are received: enough for what will come, and enough left for others meanwhile.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reseed_core::config::{Size, Text};
use reseed_core::host::{Command, Host};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// How often room is looked at while something is received.
const LOOK: Duration = Duration::from_secs(2);
/// What stays free of any storage where nothing is said: this share of it, in percent …
const SHARE: f64 = 5.0;
/// … or this much, whichever is less.
const ENOUGH: u64 = 1 << 30;

/// Room on a pool or a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub size: u64,
    /// What is free.
    pub free: u64,
}

/// What stays free in any case where nothing is said.
const LITTLE: u64 = 16 << 20;

/// How much of a storage must stay free: a share of it, `5%`, or an amount, `20GiB`; by default the
/// least of 5 %, 1 GiB and as much as will come. `0%` lets it fill up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinFree(Wanted);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Wanted {
    #[default]
    Usual,
    Percent(f64),
    Bytes(Size),
}

impl MinFree {
    /// In bytes of this storage, where so many will come; `None` where nobody knows how many.
    pub fn of(self, room: Room, needed: Option<u64>) -> u64 {
        let share = |percent: f64| (room.size as f64 * percent / 100.0) as u64;
        // An estimate may be wrong, but a small one is not wrong by much.
        let doubt = needed.map_or(u64::MAX, |needed| needed.max(LITTLE));
        match self.0 {
            Wanted::Usual => share(SHARE).min(ENOUGH).min(doubt),
            Wanted::Percent(percent) => share(percent),
            Wanted::Bytes(size) => size.get(),
        }
    }

    /// What counts as needed while it comes: where there is room for all and for what usually stays free,
    /// that stays free.
    fn doubt(self, room: Room, needed: Option<u64>) -> Option<u64> {
        needed.filter(|needed| room.free < needed.saturating_add(self.of(room, None)))
    }

    /// Refuses where what will come does not fit, or would leave less than must stay free. `needed` is
    /// `None` where nobody knows how much it will be; `make_room` is a command that helps.
    ///
    /// # Errors
    /// That refusal, with how much is missing.
    pub fn check(self, what: &str, room: Room, needed: Option<u64>, make_room: &str) -> Result<()> {
        let (least, needed) = (self.of(room, needed), needed.unwrap_or_default());
        let missing = needed.saturating_add(least).saturating_sub(room.free);
        if missing == 0 {
            return Ok(());
        }
        let (comes, free) = (mib(needed), mib(room.free));
        let text = format!(
            "{what} has {free} MiB free: about {comes} MiB will come, and {} MiB must stay free (`min_free`)",
            mib(least)
        );
        let mut hint = format!("make room for {} MiB more: `{make_room}`", mib(missing));
        if needed <= room.free {
            hint.push_str("; or let it fill up: `min_free = \"0%\"` in the stage");
        }
        Err(Error::refused(text).hint(hint))
    }

    /// Watches, until the run ends, that so much stays free; `needed` is as for [`check`](Self::check), and
    /// `ask` looks how much is free.
    pub fn watch<F>(self, what: String, needed: Option<u64>, ask: impl Fn() -> F + Send + Sync + 'static, cx: &StageCx)
    where
        F: Future<Output = Result<Room>> + Send,
    {
        cx.watch(|over| async move {
            let full = over.run_until_cancelled(async {
                let mut doubt = None;
                loop {
                    tokio::time::sleep(LOOK).await;
                    // That it can't be asked is for those to tell who need it.
                    let Ok(room) = ask().await else { continue };
                    let least = self.of(room, *doubt.get_or_insert_with(|| self.doubt(room, needed)));
                    if room.free < least {
                        return low(&what, room.free, least);
                    }
                }
            });
            full.await.map_or(Ok(()), Err)
        });
    }
}

fn low(what: &str, free: u64, least: u64) -> Error {
    let (free, least) = (mib(free), mib(least));
    Error::failed(format!("{what} has only {free} MiB free, and {least} MiB must stay free (`min_free`)"))
        .hint("see what fills it, make room, and run it again")
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Prints the line of `df` for a path, or for the nearest directory above that is there.
const DF: &str = r#"p=$1; while [ ! -e "$p" ]; do p=$(dirname -- "$p"); done; df -Pk -- "$p""#;

/// Room on the file system of a path; one that is not there yet counts as what it would lie in.
///
/// # Errors
/// When the host can't be asked.
pub async fn of_path(host: &Arc<dyn Host>, path: &str) -> Result<Room> {
    let text = host.run(Command::script(DF).titled("df").arg(path).as_root()).await?;
    parse(&text).ok_or_else(|| Error::failed(format!("df says nothing of {path} on {}", host.name())))
}

/// What `df -Pk` prints: the name of a file system, its blocks, those used and free, the share in use.
fn parse(text: &str) -> Option<Room> {
    let words: Vec<_> = text.lines().nth(1)?.split_whitespace().collect();
    let share =
        words.iter().position(|word| word.ends_with('%') && word.trim_end_matches('%').parse::<u64>().is_ok())?;
    let kib = |back: usize| words.get(share.checked_sub(back)?)?.parse::<u64>().ok();
    let (free, used) = (kib(1)?, kib(2)?);
    Some(Room { size: (used + free).checked_mul(1024)?, free: free.checked_mul(1024)? })
}

const MIN_FREE: &str = "a share or an amount is written like `5%` or `20GiB`";

impl FromStr for MinFree {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match percent.filter(|percent| (0.0..100.0).contains(percent)) {
            Some(percent) => Ok(Self(Wanted::Percent(percent))),
            None => text.parse().map(|size| Self(Wanted::Bytes(size))).map_err(|_| MIN_FREE),
        }
    }
}

impl<'de> Deserialize<'de> for MinFree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::like(MIN_FREE))
    }
}

impl JsonSchema for MinFree {
    fn schema_name() -> Cow<'static, str> {
        "MinFree".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["5%", "20GiB", "0%"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn read(text: &str) -> Option<MinFree> {
        let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            serde::de::IntoDeserializer::into_deserializer(text);
        MinFree::deserialize(deserializer).ok()
    }

    #[test]
    fn what_stays_free_is_a_share_or_an_amount() {
        let room = Room { size: 10 * GIB, free: GIB };
        let of = |text| read(text).map(|least| least.of(room, None));
        assert_eq!([of("5%"), of("2 %"), of("0%"), of("3GiB")], [GIB / 2, GIB / 5, 0, 3 * GIB].map(Some));
        for wrong in ["", "5", "100%", "-1%", "x%", "5 percent"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(MinFree::default().of(room, None), GIB / 2);
        assert_eq!(MinFree::default().of(Room { size: 100 << 40, free: 0 }, None), GIB);
    }

    #[test]
    fn a_storage_that_is_nearly_full_takes_what_is_small_and_says_how_it_would_take_more() {
        let (room, mib) = (Room { size: 10 * GIB, free: 200 << 20 }, |mib: u64| Some(mib << 20));
        let usual = MinFree::default();
        assert!(usual.check("p", room, mib(1), "df").is_ok());
        assert!(usual.check("p", room, mib(100), "df").is_ok());
        for (needed, can) in [(mib(150), true), (None, true), (mib(201), false)] {
            let error = usual.check("p", room, needed, "df").unwrap_err();
            assert_eq!(error.hint_text().unwrap().contains("`min_free = \"0%\"`"), can, "{needed:?}");
        }
        let own = read("0%").unwrap();
        assert!(own.check("p", room, mib(200), "df").is_ok() && own.check("p", room, None, "df").is_ok());
        // What was let in is not stopped for what it was let in with; where there is room, more stays free.
        assert_eq!(usual.of(room, usual.doubt(room, mib(1))), LITTLE);
        let roomy = Room { free: GIB, ..room };
        assert_eq!(usual.of(roomy, usual.doubt(roomy, mib(1))), GIB / 2);
    }

    #[test]
    fn a_refusal_says_how_much_is_missing() {
        let room = Room { size: 10 * GIB, free: GIB };
        let least = MinFree::default();
        assert!(least.check("p", room, Some(GIB / 2), "df").is_ok());
        assert!(least.check("p", room, None, "df").is_ok());
        let error = least.check("p", room, Some(GIB), "df -h").unwrap_err();
        assert_eq!(
            error.chain(),
            "p has 1024 MiB free: about 1024 MiB will come, and 512 MiB must stay free (`min_free`)"
        );
        assert_eq!(
            error.hint_text(),
            Some("make room for 512 MiB more: `df -h`; or let it fill up: `min_free = \"0%\"` in the stage")
        );
    }

    #[test]
    fn df_is_read_whatever_the_names_are() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/my disk 1000 400 500 45% /srv/a b\n";
        assert_eq!(parse(text), Some(Room { size: 900 * 1024, free: 500 * 1024 }));
        assert_eq!(parse("Filesystem …\n"), None);
    }
}
