//! What is made ready before a stream is received, and how that is taken back.

use std::sync::{MutexGuard, PoisonError};

use reseed_core::host::Job;
use reseed_core::item::StreamHeader;
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};

use super::checks::{self, Base};
use super::{Moved, Receiver, kept};
use crate::aside::{self, Live};
use crate::fresh;
use crate::mapping::Goal;
use crate::name;
use crate::parse::Features;
use crate::undo::{DestroyDataset, Kept, RollBack};
use crate::zfs::Zfs;

/// Makes ready for one stream and gives the command that receives it.
pub(super) async fn begin(receiver: &Receiver, header: &StreamHeader, cx: &StageCx) -> Result<Job> {
    let dataset = receiver.dataset(&header.part)?;
    let features = receiver.zfs.features().await?;
    let bytes = header.estimate.or_else(|| checks::planned(&header.part.dataset, cx));
    let (room, may_keep) = (checks::room(receiver, &dataset, bytes), kept::may_keep_of(receiver, &dataset, header, cx));
    let ((), resumable) = tokio::try_join!(room, may_keep)?;
    if header.part.main {
        checks::watch_room(receiver, &dataset, bytes, cx);
    }
    match &receiver.goal {
        // What is there stays as it is until the rest has come, and then too: an increment follows.
        Goal::Into(_) if header.goes_on && kept::comes_directly(cx) => {}
        Goal::Into(into) => {
            if !header.goes_on {
                kept::give_up(receiver, &dataset, cx).await?;
            }
            let kept = || Kept::part_of(&header.part.guid, resumable);
            beside(receiver, into, &dataset, header, &kept, cx).await?;
        }
        Goal::Over(_) => in_place(receiver, &dataset, header, cx).await?,
    }
    let pristine = matches!(receiver.goal, Goal::Into(_)) && header.from_guid.is_none();
    let flags = flags(&features, pristine, resumable);
    // Of several snapshots each has its name from the stream.
    let name = match header.between.is_empty() {
        true => format!("{dataset}@{}", header.part.snapshot),
        false => dataset,
    };
    Ok(Zfs::command(&flags, &[&name])?.into())
}

/// What is received is never mounted, and nothing in a pristine copy ever runs setuid, whatever the
/// sender's properties say.
fn flags(features: &Features, pristine: bool, resumable: bool) -> Vec<&'static str> {
    let mut flags = vec!["receive"];
    if resumable {
        flags.push("-s");
    }
    if features.unmounted {
        flags.push("-u");
    }
    if pristine && features.receive_properties {
        flags.extend(["-x", "mountpoint"]);
        flags.extend(PRISTINE.iter().flat_map(|property| ["-o", property]));
    }
    flags
}

/// Properties of a pristine copy.
pub(super) const PRISTINE: [&str; 3] = ["readonly=on", "canmount=noauto", "setuid=off"];

/// The pristine copy: its dataset is new, or stands exactly at the base.
async fn beside(
    receiver: &Receiver,
    into: &str,
    dataset: &str,
    header: &StreamHeader,
    kept: &(dyn Fn() -> Kept + Sync),
    cx: &StageCx,
) -> Result<()> {
    let zfs = &receiver.zfs;
    if let Some(Base { snapshot: base, cut }) = checks::judge(zfs, dataset, header.from_guid.as_deref()).await? {
        if cut > 0 {
            zfs.rollback(&base.name).await?;
            cx.note(format!(
                "took {dataset} back to @{}, as the source can't go on with what came later",
                base.short()
            ));
        }
        let target = receiver.target().await?;
        let (dataset, base_name) = (dataset.to_owned(), base.short().to_owned());
        let (base, received, between) = (base.guid, header.part.guid.clone(), header.between.clone());
        cx.arm(RollBack { zfs: zfs.clone(), dataset, base, base_name, received, between, target, kept: kept() })?;
        return Ok(());
    }
    if name::under(dataset, into).is_some() && !zfs.exists(into).await? {
        cx.arm(DestroyDataset::new(zfs, into).unless(kept()))?;
        let hidden = [("mountpoint", "none"), ("canmount", "off")];
        zfs.create(into, &hidden.map(|(property, value)| (property.to_owned(), value.to_owned()))).await?;
    }
    cx.arm(DestroyDataset::new(zfs, dataset).unless(kept()))?;
    Ok(())
}

/// In place: what is live steps aside, and a clone of the base takes its name and its snapshots.
async fn in_place(receiver: &Receiver, dataset: &str, header: &StreamHeader, cx: &StageCx) -> Result<()> {
    let zfs = &receiver.zfs;
    let Some((live, aside)) = receiver.displace(dataset, cx).await? else {
        cx.arm(DestroyDataset::new(zfs, dataset))?;
        return Ok(());
    };
    let undo = DestroyDataset { spare: Some(live), ..DestroyDataset::new(zfs, dataset) };
    let Some(base) = &header.from_guid else {
        cx.arm(undo)?;
        return Ok(());
    };
    let snapshots = zfs.snapshots(&aside).await?;
    let base = snapshots.iter().find(|one| one.guid == *base && !one.is_bookmark());
    let base = base.ok_or_else(|| Error::failed(format!("{dataset} no longer holds the increment's base")))?;
    cx.arm(DestroyDataset { promote: Some(aside.clone()), ..undo })?;
    let mut properties = fresh::inheritance(zfs, &aside).await?;
    properties.push(("canmount".to_owned(), "noauto".to_owned()));
    zfs.clone_of(&base.name, dataset, &properties).await?;
    // An old ZFS receives increments only into the dataset that the base belongs to.
    Ok(zfs.promote(dataset).await?)
}

impl Receiver {
    /// Lets the live dataset of this name step aside, unless it went with one above it. Gives its
    /// identity and its name aside; `None` where nothing is live under this name.
    pub(super) async fn displace(&self, dataset: &str, cx: &StageCx) -> Result<Option<(String, String)>> {
        let undecided = self.undecided(dataset);
        let names: Vec<_> = undecided.iter().map(String::as_str).collect();
        let lives = aside::lives(&self.zfs, &names).await?;
        aside::step_aside(&self.zfs, &lives, cx).await?;
        self.moved().lives.extend(lives);
        let Some(aside) = self.stepped(dataset) else { return Ok(None) };
        let rest = name::under(dataset, &aside.root).unwrap_or_default();
        let name = format!("{}{rest}", aside.aside(cx.run_id()));
        Ok(self.zfs.guid(&name).await?.map(|guid| (guid, name)))
    }

    /// This dataset and all others that are to be replaced, if nothing has been decided about them
    /// yet: they step aside together, since one may be mounted inside another. What has the name of
    /// one later is the copy.
    fn undecided(&self, dataset: &str) -> Vec<String> {
        let mut names: Vec<_> = self.mapping().targets().map(str::to_owned).collect();
        names.push(dataset.to_owned());
        names.sort();
        names.dedup();
        let mut moved = self.moved();
        let Moved { decided, lives } = &mut *moved;
        let went = |name: &String| lives.iter().any(|live| name::under(name, &live.root).is_some());
        let names: Vec<_> = names.into_iter().filter(|name| !decided.contains(name) && !went(name)).collect();
        decided.extend(names.iter().cloned());
        names
    }

    /// The live dataset that stepped aside in this run and had this one in its tree.
    pub(super) fn stepped(&self, dataset: &str) -> Option<Live> {
        self.moved().lives.iter().find(|live| name::under(dataset, &live.root).is_some()).cloned()
    }

    pub(super) fn moved(&self) -> MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
