//! What the far end of a wire has, and what is made of it.

use std::fmt;

use reseed_core::host::{Command, Host};
use reseed_core::registry::CodecPlugin;
use reseed_core::{Encoding, Error, Result, inventory};

use super::Wire;
use crate::wire::VERSION_LINE;

/// Which end of the wire a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Sending,
    Receiving,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Sending { "sending" } else { "receiving" })
    }
}

/// How bytes are put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Means {
    /// In frames, with reseed at both ends, which also encodes.
    Framed,
    /// Encoded by reseed on one end and by a standard program on the other.
    Programs,
    /// As they are.
    Plain,
}

/// What a machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// What its reseed says of its wire protocol.
    reseed: Option<String>,
    /// Programs of those asked for.
    programs: Vec<String>,
    /// Whether its `dd` can count bytes of a pipe, which a receiver's guard needs.
    dd: bool,
}

/// `$1` is reseed; the rest are programs.
pub(super) const PROBE: &str = r#"w=$("$1" wire version </dev/null 2>/dev/null) && echo "wire $w"
shift
for p; do command -v "$p" >/dev/null 2>&1 && echo "program $p"; done
[ "$(printf abc | dd bs=3 count=1 iflag=fullblock 2>/dev/null)" = abc ] && echo dd
exit 0"#;

/// Asks a machine, in one command.
pub(super) async fn probe(host: &dyn Host, reseed: &str, encodings: &[Encoding]) -> Result<Facts> {
    let programs = encodings.iter().filter_map(program);
    let text = host.run(Command::script(PROBE).titled("probe").arg(reseed).args(programs)).await?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Facts {
    let mut facts = Facts::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("wire", version)) => facts.reseed = Some(version.to_owned()),
            Some(("program", name)) => facts.programs.push(name.to_owned()),
            _ => facts.dd |= line == "dd",
        }
    }
    facts
}

/// The standard program of an encoding.
fn program(encoding: &Encoding) -> Option<&'static str> {
    let plugin = inventory::iter::<CodecPlugin>.into_iter().find(|plugin| plugin.name == encoding.as_str());
    plugin.and_then(|plugin| plugin.program)
}

impl Facts {
    fn speaks_wire(&self) -> bool {
        self.reseed.as_deref() == Some(VERSION_LINE)
    }

    fn has_programs(&self, encodings: &[Encoding]) -> bool {
        let there = |name: &str| self.programs.iter().any(|program| program == name);
        encodings.iter().all(|encoding| program(encoding).is_some_and(there))
    }

    /// The means that this machine can take part in.
    ///
    /// # Errors
    /// A refusal, when it lacks what was asked for.
    pub(super) fn pick(&self, wire: Wire, side: Side, host: &str, encodings: &[Encoding]) -> Result<Means> {
        let encoded = !encodings.is_empty();
        let means = match wire {
            Wire::Auto if self.speaks_wire() => Means::Framed,
            Wire::Auto if encoded && self.has_programs(encodings) => Means::Programs,
            Wire::Auto | Wire::Plain => Means::Plain,
            Wire::Framed if self.speaks_wire() => Means::Framed,
            Wire::Framed => return Err(self.no_reseed(host)),
            Wire::Zstd if encoded && self.has_programs(encodings) => Means::Programs,
            Wire::Zstd => return Err(no_program(host, encodings)),
        };
        if side == Side::Receiving && means != Means::Framed && !self.dd {
            let text = format!("{host} could take a stream that was cut for a whole one: its `dd` has no fullblock");
            return Err(Error::refused(text).hint(format!("install reseed on {host}, or run it there")));
        }
        Ok(means)
    }

    fn no_reseed(&self, host: &str) -> Error {
        let text = match &self.reseed {
            Some(other) => format!("reseed on {host} speaks another wire protocol: {other}"),
            None => format!("there is no reseed on {host}"),
        };
        Error::refused(text)
            .hint(format!("install the same reseed on {host}, name it by `reseed_path`, or leave `wire` at \"auto\""))
    }

    /// What a plan shows.
    pub(super) fn describe(&self, means: &Means, side: Side, host: &str, encodings: &[Encoding]) -> String {
        let names: Vec<_> = encodings.iter().map(Encoding::as_str).collect();
        let names = names.join("+");
        let with = |text: &str| if names.is_empty() { String::new() } else { format!("{text}{names}") };
        let how = match means {
            Means::Framed => format!("framed by reseed, length and SHA-256 end to end{}", with(", ")),
            Means::Programs => format!("{names} by the program there"),
            Means::Plain if names.is_empty() => "plain".to_owned(),
            Means::Plain => format!("plain: not {names}, {}", self.why_plain()),
        };
        format!("{} {host}: {how}", if side == Side::Sending { "from" } else { "to" })
    }

    fn why_plain(&self) -> String {
        match &self.reseed {
            Some(other) if !self.speaks_wire() => format!("since its reseed speaks another protocol ({other})"),
            _ => "since it has neither reseed nor the program, or `wire` says so".to_owned(),
        }
    }
}

fn no_program(host: &str, encodings: &[Encoding]) -> Error {
    if encodings.is_empty() {
        let error = Error::refused("`wire = \"zstd\"` needs a stage that compresses");
        return error.hint("put a stage `use = \"zstd\"` in front of ssh-transfer");
    }
    let error = Error::refused(format!("there is no program `zstd` on {host}"));
    error.hint(format!("install it on {host}, for example: apt-get install zstd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZSTD: &[Encoding] = &[Encoding::new("zstd")];

    fn facts(text: &str) -> Facts {
        parse(text)
    }

    #[test]
    fn the_best_means_is_taken() {
        let pick = |text: &str, side, encodings| facts(text).pick(Wire::Auto, side, "far", encodings).unwrap();
        let framed = format!("wire {VERSION_LINE}\nprogram zstd\ndd\n");
        assert_eq!(pick(&framed, Side::Sending, ZSTD), Means::Framed);
        assert_eq!(pick("wire reseed wire 999\nprogram zstd\ndd\n", Side::Sending, ZSTD), Means::Programs);
        assert_eq!(pick("program zstd\n", Side::Sending, &[]), Means::Plain);
        assert_eq!(pick("", Side::Sending, ZSTD), Means::Plain);
        assert_eq!(pick("dd\n", Side::Receiving, ZSTD), Means::Plain);
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_is_refused_with_a_hint() {
        for (wire, encodings, text) in [
            (Wire::Framed, ZSTD, "there is no reseed on far"),
            (Wire::Zstd, ZSTD, "there is no program `zstd` on far"),
            (Wire::Zstd, &[], "`wire = \"zstd\"` needs a stage that compresses"),
        ] {
            let error = facts("dd\n").pick(wire, Side::Sending, "far", encodings).unwrap_err();
            assert_eq!(error.chain(), text);
            assert!(error.hint_text().is_some());
        }
        assert!(facts("").pick(Wire::Plain, Side::Receiving, "far", &[]).is_err(), "no guard, no way to tell the end");
    }

    #[test]
    fn a_plan_says_which_way_the_wire_goes() {
        let told = |means, side| facts("dd\n").describe(&means, side, "far", ZSTD);
        assert_eq!(
            told(Means::Framed, Side::Sending),
            "from far: framed by reseed, length and SHA-256 end to end, zstd"
        );
        assert_eq!(told(Means::Programs, Side::Receiving), "to far: zstd by the program there");
        assert!(told(Means::Plain, Side::Sending).starts_with("from far: plain: not zstd, since"));
    }
}
