//! Keys of a repository: to whom chunks are encrypted, who reads them, and whose manifests are trusted.

mod cipher;
mod sign;

pub use cipher::{Identities, Recipients};
pub use sign::{Signer, Trust};

/// The keys of one repository. By default there are none: chunks are not encrypted, and manifests are
/// neither signed nor looked at for a signature.
#[derive(Debug, Clone, Default)]
pub struct Seal {
    /// To whom new chunks are encrypted.
    pub recipients: Recipients,
    /// What opens chunks.
    pub identities: Identities,
    /// What signs new manifests.
    pub signer: Option<Signer>,
    /// Whose manifests are read.
    pub trust: Trust,
}

#[cfg(test)]
mod tests;
