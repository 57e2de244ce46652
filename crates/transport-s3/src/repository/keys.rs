//! The keys of a repository, as its table names them.

use reseed_core::config::{BuildCx, Located, Problem, Secret, SecretSource};

use super::RepositoryConfig;
use crate::seal::{Identities, Recipients, Seal, Signer, Trust};

impl RepositoryConfig {
    /// The keys; `None` where one is not right, which has been told then.
    pub(super) fn seal(&self, cx: &mut BuildCx<'_>) -> Option<Seal> {
        let recipients = public(&self.recipients, |key| Recipients::parse([key]).map(drop), OF_AGE, cx);
        let trusted = public(&self.trusted, |key| Trust::parse([key]).map(drop), OF_OPENSSL, cx);
        let identities = secret(self.identity.as_ref(), Identities::parse, OF_AGE, cx);
        let signer = secret(self.sign.as_ref(), Signer::parse, OF_OPENSSL, cx);
        let (recipients, trusted, identities, signer) = (recipients?, trusted?, identities?, signer?);
        Some(Seal {
            recipients: Recipients::parse(recipients).ok()?,
            identities: identities.unwrap_or_default(),
            trust: Trust::parse(trusted).ok()?.and(signer.as_ref()),
            signer,
        })
    }
}

const OF_AGE: &str = "`age-keygen -o key` writes the secret key, and `age-keygen -y key` tells the public one";
const OF_OPENSSL: &str = "`openssl genpkey -algorithm ed25519 -out key` writes the secret key, and \
                          `openssl pkey -in key -pubout | sed -n 2p` tells the public one";

/// Public keys, each of which was found to be one.
fn public<'k>(
    keys: &'k [Located<String>],
    try_one: impl Fn(&str) -> Result<(), String>,
    hint: &str,
    cx: &mut BuildCx<'_>,
) -> Option<Vec<&'k str>> {
    let mut good = true;
    for key in keys {
        if let Err(why) = try_one(key) {
            good = false;
            cx.problem(Problem::at(key.span(), why).hint(hint));
        }
    }
    good.then(|| keys.iter().map(|key| key.as_str()).collect())
}

/// A secret key, where one is named.
fn secret<T>(
    source: Option<&Located<SecretSource>>,
    parse: impl Fn(&str) -> Result<T, String>,
    hint: &str,
    cx: &mut BuildCx<'_>,
) -> Option<Option<T>> {
    let Some(source) = source else { return Some(None) };
    let secret = Secret::read(source, cx)?;
    parse(secret.reveal()).map(Some).map_err(|why| cx.problem(Problem::at(source.span(), why).hint(hint))).ok()
}
