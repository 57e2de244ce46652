//! One stream's arrival, and what is made of all of them.

use std::sync::Arc;

use reseed_core::host::{Command, Job};
use reseed_core::item::{StreamHeader, Volume};
use reseed_core::stage::StageCx;
use reseed_core::{Error, Result};
use reseed_storage::pristine::Pristine;

use super::Receiver;
use crate::btrfs::sealing;
use crate::check;
use crate::prune::Prune;
use crate::shared::Received;
use crate::undo::DeleteSubvolume;

/// Makes ready for one stream and gives the command that receives it. It ends at the stream's own end
/// and fails without one.
pub(super) async fn begin(receiver: &Receiver, header: &StreamHeader, cx: &StageCx) -> Result<Job> {
    let btrfs = &receiver.btrfs;
    if let Some(base) = &header.from_guid {
        let table = btrfs.table(&[&receiver.into]).await?;
        let filesystem = check::filesystem(&table, &receiver.into, btrfs.host().name())?;
        // The survey judged it, but that was before the whole way here; who it is must still hold.
        check::parent(&table, filesystem, base)?
            .filter(|seen| seen.subvolume.readonly)
            .ok_or_else(|| Error::failed(format!("{} no longer holds the increment's base", receiver.into)))?;
    }
    receiver.room(header.estimate).await?;
    if header.part.main {
        receiver.watch_room(header.estimate, cx);
    }
    let directory = receiver.directory(&header.part)?;
    btrfs.make_directory(&directory, cx).await?;
    let copy = receiver.copy(&header.part)?;
    cx.arm(DeleteSubvolume::new(btrfs, &copy))?;
    Ok(Command::new("btrfs").args(["receive", "-e", &directory]).as_root().into())
}

/// What arrived is what was sent, whole and read-only.
pub(super) async fn verify(receiver: &Receiver, header: &StreamHeader) -> Result<()> {
    let copy = receiver.copy(&header.part)?;
    let table = receiver.btrfs.table(&[&copy]).await?;
    let whole = |subvolume: &crate::parse::Subvolume| {
        subvolume.readonly && subvolume.received.as_deref() == Some(header.part.guid.as_str())
    };
    match table.at(&copy) {
        Some(seen) if whole(&seen.subvolume) => Ok(()),
        _ => Err(Error::failed(format!("the stream ended well, but {copy} is not a whole copy of it"))),
    }
}

/// Writes out and seals what has arrived.
pub(super) async fn settle(receiver: &Receiver, headers: &[StreamHeader], cx: &StageCx) -> Result<()> {
    let btrfs = &receiver.btrfs;
    btrfs.sync(&receiver.into).await?;
    for header in headers {
        let copy = receiver.copy(&header.part)?;
        cx.arm(DeleteSubvolume::new(btrfs, &sealing(&copy)))?;
        btrfs.seal(&copy).await?;
    }
    Ok(())
}

/// Makes a volume of all that was received.
pub(super) async fn finish(receiver: &Receiver, headers: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>> {
    let btrfs = &receiver.btrfs;
    settle(receiver, &headers, cx).await?;
    let parts = headers.iter().map(|header| Ok((header.part.clone(), receiver.copy(&header.part)?)));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let directory = |header: &StreamHeader| Ok((receiver.directory(&header.part)?, header.part.guid.clone()));
    let directories = headers.iter().map(directory).collect::<Result<_>>()?;
    let target = receiver.target().await?;
    cx.after_commit(Prune { btrfs: btrfs.clone(), directories, target, keep: receiver.keep })?;
    // Every header carries those of its whole set.
    let left_out = headers.first().map(|header| header.left_out.clone()).unwrap_or_default();
    cx.board().put(Received { btrfs: btrfs.clone(), parts, left_out, into: receiver.into.clone() });
    Ok(Arc::new(Pristine { host: Arc::clone(btrfs.host()), hint: super::CLONE_IT }))
}
