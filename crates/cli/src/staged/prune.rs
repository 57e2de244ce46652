//! `reseed staged prune`.

use std::sync::Arc;

use reseed_core::Error;
use reseed_transport_s3::prune::{Keep, Policy, Prune, Surplus};
use reseed_transport_s3::seal::Trust;
use reseed_transport_s3::store::Store;
use serde_json::json;

use super::{PruneArgs, ago, tell};
use crate::human::{bytes, count};
use crate::{exit, out};

pub(super) async fn prune(store: &Arc<dyn Store>, trust: &Trust, args: &PruneArgs) -> Result<u8, Error> {
    let keep = Keep { last: args.last, daily: args.daily, weekly: args.weekly, monthly: args.monthly };
    if keep == Keep::default() {
        let error = Error::refused("nothing says what is kept");
        return Ok(tell(&error.hint("for example `--daily 14 --weekly 8 --monthly 12`"), exit::WRONG));
    }
    let prune = Prune::look(store.as_ref(), trust, Policy { keep, grace: args.grace.0.as_secs() }).await?;
    let removed = match args.apply {
        true => Some(prune.apply(store, &reseed_core::run_id()).await?),
        false => None,
    };
    match args.repository.json {
        true => out::data(&format!("{}\n", json(&prune, args.apply))),
        false => out::data(&text(&prune, removed)),
    }
    Ok(exit::DONE)
}

fn json(prune: &Prune, applied: bool) -> serde_json::Value {
    let one = |one: &Surplus| json!({ "object": one.object, "bytes": one.bytes, "since": one.since, "goes": one.ripe });
    json!({
        "applied": applied,
        "kept": prune.kept,
        "surplus": prune.surplus.iter().map(one).collect::<Vec<_>>(),
        "left_alone": prune.left_alone,
    })
}

fn text(prune: &Prune, removed: Option<(usize, u64)>) -> String {
    let mut text = format!("kept: {}\n", count(prune.kept.len(), "manifest"));
    for why in &prune.left_alone {
        text.push_str(&format!("left alone: {why}\n"));
    }
    for one in prune.surplus.iter().filter(|one| !one.object.starts_with("chunks/")) {
        text.push_str(&format!("{}: {}\n", fate(one, removed.is_some()), one.object));
    }
    let chunks = |ripe: bool| {
        let all = prune.surplus.iter().filter(|one| one.object.starts_with("chunks/") && one.ripe == ripe);
        let (number, size) = all.fold((0, 0), |(number, size), one| (number + 1, size + one.bytes));
        format!("{}, {}", count(number, "chunk"), bytes(size))
    };
    if prune.surplus.is_empty() {
        text.push_str("nothing is to go\n");
        return text;
    }
    text.push_str(&format!("with them go later: {}\n", chunks(false)));
    text.push_str(&match removed {
        Some((objects, size)) => format!("gone: {}, {}\n", count(objects, "object"), bytes(size)),
        None => format!("would go now: {}\nnothing was changed: --apply does it\n", chunks(true)),
    });
    text
}

fn fate(one: &Surplus, applied: bool) -> String {
    match (one.ripe, one.since, applied) {
        (true, _, true) => "gone".to_owned(),
        (true, _, false) => "would go now".to_owned(),
        (false, Some(since), _) => format!("marked {}", ago(since)),
        (false, None, true) => "marked now".to_owned(),
        (false, None, false) => "would be marked".to_owned(),
    }
}
