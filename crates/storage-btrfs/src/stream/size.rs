//! How long a stream will be.

use reseed_core::stream::BoxStream;
use reseed_core::{Error, Result};

use super::Verifier;

/// About how many bytes the stream will have that this one, by `btrfs send --no-data`, tells of: its commands and the data
/// that it leaves out.
///
/// # Errors
/// When it is not whole, or is no stream.
pub(crate) async fn size(mut stream: BoxStream) -> Result<u64> {
    let mut verifier = Verifier::any();
    let broken = |why| Error::failed("what btrfs says of the stream's size can't be read").because(why);
    while let Some(bytes) = stream.next().await? {
        verifier.push(&bytes).map_err(broken)?;
    }
    verifier.finish().map_err(broken)?;
    Ok(verifier.offset().saturating_add(verifier.seen().not_carried))
}
