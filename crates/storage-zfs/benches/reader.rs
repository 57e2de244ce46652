//! How fast the reader of send streams is on one core, beside plain SHA-256 of the same bytes and beside
//! copying them. Rounds alternate within one run; the ratio of the medians counts.
//!
//! `cargo bench -p reseed-storage-zfs --bench reader`; `-- --rounds 9` sets the work.

use std::hint::black_box;
use std::time::{Duration, Instant};

use reseed_storage_zfs::stream::{Fletcher, HEAD, Order, Reader};
use sha2::{Digest, Sha256};

/// Bytes of one block, as a dataset with the usual record size has them.
const BLOCK: usize = 128 << 10;
const BLOCKS: usize = 2048;
/// Bytes that a stream brings at once.
const PIECE: usize = 256 << 10;

/// A stream of blocks, as a little-endian machine sends it.
struct Out {
    bytes: Vec<u8>,
    sums: Fletcher,
}

impl Out {
    fn record(&mut self, kind: u32, numbers: &[(usize, u64)], payload: &[u8]) {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&kind.to_le_bytes());
        numbers.iter().for_each(|(at, number)| head[*at..at + 8].copy_from_slice(&number.to_le_bytes()));
        self.sums.add(&head[..HEAD - 32]);
        if kind != 0 {
            let sums = self.sums.sums().map(u64::to_le_bytes).concat();
            head[HEAD - 32..].copy_from_slice(&sums);
        }
        self.sums.add(&head[HEAD - 32..]);
        self.sums.add(payload);
        self.bytes.extend(head);
        self.bytes.extend(payload);
    }

    fn stream() -> Vec<u8> {
        let mut out = Self { bytes: vec![], sums: Fletcher::new(Order::Little) };
        out.record(0, &[(8, 0x2_f5ba_cbac), (16, 1), (40, 2)], &[]);
        let mut block = vec![0; BLOCK];
        for number in 0..BLOCKS {
            block.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 31 + number * 7) as u8);
            let offset = (number * BLOCK) as u64;
            out.record(3, &[(8, 7), (24, offset), (32, BLOCK as u64), (40, 2)], &block);
        }
        let ended: Vec<_> = out.sums.sums().into_iter().enumerate().map(|(at, sum)| (8 + 8 * at, sum)).collect();
        out.record(5, &[&ended[..], &[(40, 2)]].concat(), &[]);
        out.bytes
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn read(stream: &[u8]) {
    let mut reader = Reader::default();
    stream.chunks(PIECE).for_each(|piece| reader.push(piece).expect("the stream is sound"));
    reader.finish().expect("the stream is whole");
}

fn hash(stream: &[u8]) {
    let mut hash = Sha256::new();
    stream.chunks(PIECE).for_each(|piece| hash.update(piece));
    black_box(hash.finalize());
}

fn copy(stream: &[u8]) {
    let mut copied = vec![0; PIECE];
    for piece in stream.chunks(PIECE) {
        copied[..piece.len()].copy_from_slice(piece);
        black_box(&mut copied);
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// Something that is done to a whole stream, and its name.
type Work = (&'static str, fn(&[u8]));

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--rounds").skip(1);
    let rounds: usize = args.next().map_or(9, |rounds| rounds.parse().expect("--rounds takes a number"));
    let stream = Out::stream();
    let works: [Work; 3] = [("reader", read), ("SHA-256", hash), ("copy", copy)];
    let mut times = works.map(|_| vec![]);
    for _ in 0..rounds {
        for ((_, work), times) in works.iter().zip(&mut times) {
            times.push(timed(|| work(&stream)));
        }
    }
    let rates = times.map(|times| stream.len() as f64 / median(times) / 1e9);
    for ((name, _), rate) in works.iter().zip(rates) {
        println!("{name:<8} {rate:>6.2} GB/s of one core, {:.2} times SHA-256", rate / rates[1]);
    }
}
