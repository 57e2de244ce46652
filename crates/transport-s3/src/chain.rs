//! Chains of manifests: a full and the increments after it.

use std::collections::BTreeMap;

use reseed_core::{Error, Result};

use crate::format::{self, MANIFESTS, Manifest, Parent};
use crate::seal::Trust;
use crate::store::{Key, Sha256, Store};

/// One manifest of a chain, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its object.
    pub key: Key,
    /// The SHA-256 of the object.
    pub sha256: Sha256,
    /// What it says.
    pub manifest: Manifest,
}

impl Link {
    /// What is greater for the one that was made later. Of two of one second the one whose chain began later is
    /// newer, as runs are named after their time, and in one chain the one that follows.
    pub fn order(&self) -> (u64, &Key) {
        (self.manifest.created, &self.key)
    }
}

/// A full and its increments, as far as each follows from the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// What the names of its manifests have in common.
    pub name: String,
    /// Those that can be relied on, the full first.
    pub links: Vec<Link>,
    /// Why it ends before its last manifest, where it does.
    pub broken: Option<Broken>,
    /// Whether it ends there because a manifest is not signed by a key that is trusted.
    pub forged: bool,
    /// Whether it ends there because a manifest is of a version that this program does not read.
    pub newer: bool,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
}

impl Chain {
    /// Its newest manifest.
    pub fn newest(&self) -> Option<&Link> {
        self.links.last()
    }

    /// The main dataset on the source.
    pub fn dataset(&self) -> Option<&str> {
        self.links.first().map(|full| full.manifest.main())
    }

    /// Adds a manifest, if it follows.
    fn add(&mut self, key: Key, depth: u32, object: Option<&[u8]>, trust: &Trust) -> Result<(), Broken> {
        let broken = |why: String| Broken { object: key.as_str().to_owned(), why };
        let Some(bytes) = object else { return Err(broken("it is missing".to_owned())) };
        self.newer = Manifest::is_of_another_version(bytes);
        let manifest = Manifest::read(&key, bytes).map_err(|error| broken(error.chain()))?;
        let trusted = trust.judge(&manifest, bytes);
        self.forged = trusted.is_err();
        trusted.map_err(broken)?;
        self.follows(&key, depth, &manifest).map_err(broken)?;
        self.links.push(Link { sha256: Sha256::of(bytes), key, manifest });
        Ok(())
    }

    fn follows(&self, key: &Key, depth: u32, manifest: &Manifest) -> Result<(), String> {
        let before = self.links.last();
        let parent = before.map(Link::as_parent);
        if manifest.depth != depth || manifest.parent != parent {
            return Err(format!("it does not follow {}", before.map_or("nothing", |link| link.key.as_str())));
        }
        if depth == 0 && format::manifest_key(manifest.main(), &manifest.run, 0).ok().as_ref() != Some(key) {
            return Err("it is the manifest of another chain".to_owned());
        }
        let Some(before) = before else { return Ok(()) };
        for stream in &manifest.streams {
            let held = before.manifest.of(&stream.dataset).map(|stream| &stream.guid);
            if stream.from_guid.as_ref() != held {
                return Err(format!("its stream of {} starts from another snapshot", stream.dataset));
            }
        }
        Ok(())
    }
}

impl Link {
    /// What a manifest will be in the chain of this root.
    ///
    /// # Errors
    /// When it has no name, or can't be written as JSON.
    pub fn to_be(root: &str, manifest: &Manifest) -> Result<Self> {
        let key = format::manifest_key(manifest.main(), root, manifest.depth)?;
        let sha256 = Sha256::of(&manifest.to_bytes()?);
        Ok(Self { key, sha256, manifest: manifest.clone() })
    }

    /// How the next one names it.
    pub fn as_parent(&self) -> Parent {
        Parent { manifest: self.key.as_str().to_owned(), sha256: self.sha256 }
    }
}

/// Every chain of a repository, in order of name. A broken one is given as far as it goes.
///
/// # Errors
/// When the store can't be asked.
pub async fn chains(store: &dyn Store) -> Result<Vec<Chain>> {
    trusted_chains(store, &Trust::default()).await
}

/// Every chain, as [`chains`] gives them; each ends before its first manifest that is not trusted.
///
/// # Errors
/// When the store can't be asked.
pub async fn trusted_chains(store: &dyn Store, trust: &Trust) -> Result<Vec<Chain>> {
    let mut found: BTreeMap<String, BTreeMap<u32, Key>> = BTreeMap::new();
    for object in store.list(MANIFESTS).await? {
        if let Some((name, depth)) = format::position(&object.key) {
            found.entry(name).or_default().insert(depth, object.key);
        }
    }
    let mut chains = Vec::with_capacity(found.len());
    for (name, keys) in found {
        chains.push(chain(store, name, &keys, trust).await?);
    }
    Ok(chains)
}

/// Refuses a repository in which another version of the format is written: whoever does not read it all must
/// not go on from what he reads.
///
/// # Errors
/// A refusal that names the manifest.
pub fn refuse_other_versions(chains: &[Chain]) -> Result<()> {
    match chains.iter().find(|chain| chain.newer).and_then(|chain| chain.broken.as_ref()) {
        Some(broken) => Err(Error::refused(broken.why.clone()).hint("use the release that wrote it, or a newer one")),
        None => Ok(()),
    }
}

/// Every manifest whose name begins with this, as far as it can be read; whoever signed it.
///
/// # Errors
/// When the store can't be asked.
pub async fn every_manifest(store: &dyn Store, prefix: &str) -> Result<Vec<(Key, Result<Manifest>)>> {
    let mut all = vec![];
    for object in store.list(prefix).await? {
        if format::position(&object.key).is_some()
            && let Some(bytes) = store.get(&object.key).await?
        {
            let manifest = Manifest::read(&object.key, &bytes);
            all.push((object.key, manifest));
        }
    }
    Ok(all)
}

async fn chain(store: &dyn Store, name: String, keys: &BTreeMap<u32, Key>, trust: &Trust) -> Result<Chain> {
    let mut chain = Chain { name, links: vec![], broken: None, forged: false, newer: false };
    let last = keys.keys().next_back().copied().unwrap_or_default();
    for depth in 0..=last {
        let key = Key::new(format!("{MANIFESTS}{}/{depth:06}.json", chain.name))?;
        let object = if keys.contains_key(&depth) { store.get(&key).await? } else { None };
        if let Err(broken) = chain.add(key, depth, object.as_deref(), trust) {
            chain.broken = Some(broken);
            break;
        }
    }
    Ok(chain)
}

/// Writes a manifest: with this the increment exists. Of two runs that add to one chain one wins.
///
/// # Errors
/// When it can't be written, or another run was first.
pub async fn publish(store: &dyn Store, root: &str, manifest: &Manifest) -> Result<Link> {
    let (link, bytes) = (Link::to_be(root, manifest)?, manifest.to_bytes()?);
    let key = &link.key;
    // One that is there already and the same is of this run: the answer to an earlier try was lost.
    if !store.put_new(key, bytes.clone(), link.sha256).await? && store.get(key).await?.as_ref() != Some(&bytes) {
        let error = Error::failed(format!("another run has written {key} in {} meanwhile", store.url()));
        return Err(error.hint("run again: what it has added will be the base"));
    }
    Ok(link)
}
