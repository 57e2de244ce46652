//! `reseed staged list`.

use reseed_transport_s3::chain::Chain;
use serde_json::json;

use super::{ListArgs, ago, size, stored};
use crate::{exit, human, out};

pub(super) fn list(chains: &[Chain], args: &ListArgs) -> u8 {
    match args.repository.json {
        true => chains.iter().for_each(|chain| out::data(&format!("{}\n", json(chain)))),
        false => out::data(&table(chains)),
    }
    if chains.is_empty() {
        out::talk(&format!("there are no chains in {}", args.repository.url));
    }
    exit::DONE
}

fn json(chain: &Chain) -> serde_json::Value {
    let newest = chain.newest().map(
        |link| json!({ "manifest": link.key.as_str(), "run": link.manifest.run, "created": link.manifest.created }),
    );
    let broken = chain.broken.as_ref().map(|broken| json!({ "object": broken.object, "why": broken.why }));
    json!({
        "chain": chain.name,
        "dataset": chain.dataset(),
        "storage": chain.links.first().map(|full| full.manifest.storage.as_str()),
        "increments": chain.links.len().saturating_sub(1),
        "stored_bytes": chain.links.iter().map(|link| stored(&link.manifest)).sum::<u64>(),
        "stream_bytes": chain.links.iter().map(|link| size(&link.manifest)).sum::<u64>(),
        "newest": newest,
        "broken": broken,
    })
}

fn table(chains: &[Chain]) -> String {
    let head = ["CHAIN", "DATASET", "STORAGE", "INCREMENTS", "STORED", "STREAM", "NEWEST", "STATE"].map(String::from);
    let rows: Vec<_> = chains.iter().map(row).collect();
    let all: Vec<_> = if rows.is_empty() { vec![] } else { std::iter::once(head).chain(rows).collect() };
    let mut widths = [0; 8];
    for row in &all {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let line = |row: &[String; 8]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

fn row(chain: &Chain) -> [String; 8] {
    let stored_bytes = chain.links.iter().map(|link| stored(&link.manifest)).sum();
    let stream_bytes = chain.links.iter().map(|link| size(&link.manifest)).sum();
    [
        chain.name.clone(),
        chain.dataset().unwrap_or("-").to_owned(),
        chain.links.first().map_or("-", |full| full.manifest.storage.as_str()).to_owned(),
        chain.links.len().saturating_sub(1).to_string(),
        human::bytes(stored_bytes),
        human::bytes(stream_bytes),
        chain.newest().map_or_else(|| "-".to_owned(), |link| ago(link.manifest.created)),
        state(chain),
    ]
}

fn state(chain: &Chain) -> String {
    match (&chain.broken, chain.newest()) {
        (None, _) => "whole".to_owned(),
        (Some(broken), Some(newest)) => format!("ends at {}: {}: {}", newest.key, broken.object, broken.why),
        (Some(broken), None) => format!("unusable: {}: {}", broken.object, broken.why),
    }
}
