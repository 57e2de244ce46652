//! Puts the halves of a stream together that was cut off and gone on with by the token that
//! `reseed stream inspect` tells of the first half:
//!
//! ```text
//! zfs send -t TOKEN >rest
//! cargo run -p reseed-storage-zfs --example join FIRST rest | zfs receive …
//! ```

use std::fs::File;
use std::io::{self, Read, Write};

use reseed_storage_zfs::stream::{Join, Reader};

const PIECE: usize = 1 << 20;

/// Gives a file to `on` in pieces.
fn pieces(file: &str, mut on: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut file, mut piece) = (File::open(file)?, vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => on(&piece[..read])?,
        }
    }
}

fn main() -> io::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [first, rest] = &args[..] else { return Err(io::Error::other("join FIRST REST")) };
    let mut reader = Reader::default();
    pieces(first, |bytes| reader.push(bytes).map_err(io::Error::other))?;
    let (Some(begin), Some(place)) = (&reader.seen().begin, &reader.seen().resumable) else {
        return Err(io::Error::other("nothing can go on after the first half: there is no block in it"));
    };
    let mut out = io::stdout().lock();
    io::copy(&mut File::open(first)?.take(place.border), &mut out)?;
    let mut join = Join::after(begin, reader.parser().order(), place);
    pieces(rest, |bytes| {
        let mut joined = vec![];
        join.push(bytes, &mut joined).map_err(io::Error::other)?;
        out.write_all(&joined)
    })?;
    join.finish().map_err(io::Error::other)
}
