//! Fletcher-4: four sums, each of which adds up the one before it, over words of 32 bits.

/// The order of the bytes in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lowest first, as on x86 and ARM.
    Little,
    /// The highest first, as on SPARC.
    Big,
}

impl Order {
    /// A number of 32 bits.
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The bytes of a number.
    pub(super) fn bytes(self, number: u64) -> [u8; 8] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    /// The bytes of a number of 32 bits.
    pub(super) fn bytes32(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    /// A number of 64 bits.
    pub(super) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// Words that are summed up in lanes before the lanes are put together. The products of the numbers of
/// words that this takes must fit into 64 bits.
const BLOCK: usize = 1 << 14;
const LANES: usize = 4;

/// The checksum of the bytes so far, in whatever pieces they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fletcher {
    order: Order,
    sums: [u64; 4],
    /// Bytes of a word of which not all have come.
    part: [u8; 4],
    parts: usize,
}

impl Fletcher {
    /// Of nothing yet.
    pub fn new(order: Order) -> Self {
        Self::from(order, [0; 4])
    }

    /// Goes on from these sums.
    pub fn from(order: Order, sums: [u64; 4]) -> Self {
        Self { order, sums, part: [0; 4], parts: 0 }
    }

    /// The order of the bytes in a word.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The sums of all whole words.
    pub fn sums(&self) -> [u64; 4] {
        self.sums
    }

    /// Adds the next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while self.parts > 0 && !bytes.is_empty() {
            bytes = self.complete(bytes);
        }
        let (words, rest) = bytes.as_chunks::<4>();
        for block in words.chunks(BLOCK) {
            match self.order {
                Order::Little => self.block(block, u32::from_le_bytes),
                Order::Big => self.block(block, u32::from_be_bytes),
            }
        }
        self.part[..rest.len()].copy_from_slice(rest);
        self.parts += rest.len();
    }

    /// Takes one byte of a word that had begun.
    fn complete<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        self.part[self.parts] = bytes[0];
        self.parts += 1;
        if self.parts == 4 {
            self.parts = 0;
            self.word(self.order.u32(self.part));
        }
        &bytes[1..]
    }

    fn word(&mut self, word: u32) {
        self.sums[0] = self.sums[0].wrapping_add(u64::from(word));
        for sum in 1..4 {
            self.sums[sum] = self.sums[sum].wrapping_add(self.sums[sum - 1]);
        }
    }

    /// Sums every fourth word up by itself, so that the processor does four at once.
    #[inline(always)]
    fn block(&mut self, words: &[[u8; 4]], number: impl Fn([u8; 4]) -> u32 + Copy) {
        let (fours, rest) = words.as_chunks::<LANES>();
        let (mut a, mut b, mut c, mut d) = ([0_u64; LANES], [0_u64; LANES], [0_u64; LANES], [0_u64; LANES]);
        for four in fours {
            for lane in 0..LANES {
                a[lane] = a[lane].wrapping_add(u64::from(number(four[lane])));
                b[lane] = b[lane].wrapping_add(a[lane]);
                c[lane] = c[lane].wrapping_add(b[lane]);
                d[lane] = d[lane].wrapping_add(c[lane]);
            }
        }
        self.append((fours.len() * LANES) as u64, joined([a, b, c, d]));
        rest.iter().for_each(|word| self.word(number(*word)));
    }

    /// Appends `words` words whose own sums are these.
    fn append(&mut self, words: u64, [a, b, c, d]: [u64; 4]) {
        let [was_a, was_b, was_c, was_d] = self.sums;
        // How often each earlier sum was added on the way: 1, n, n(n+1)/2, n(n+1)(n+2)/6.
        let (once, twice) = (words * (words + 1) / 2, words * (words + 1) * (words + 2) / 6);
        let times = |sum: u64, often: u64| sum.wrapping_mul(often);
        let sum = |parts: &[u64]| parts.iter().fold(0_u64, |sum, part| sum.wrapping_add(*part));
        self.sums = [
            sum(&[was_a, a]),
            sum(&[was_b, times(was_a, words), b]),
            sum(&[was_c, times(was_b, words), times(was_a, once), c]),
            sum(&[was_d, times(was_c, words), times(was_b, once), times(was_a, twice), d]),
        ];
    }
}

/// The sums of a block from those of its lanes.
///
/// Word number `4i + j` of a block of `4m` words is the `q = m - i`th from the end in lane `j` and the
/// `4q - j`th from the end in all. The four sums weigh a word by the binomials of that place, and the
/// binomials of `4q - j` in terms of those of `q` are these.
fn joined([a, b, c, d]: [[u64; LANES]; 4]) -> [u64; 4] {
    const FOURTH_OF_SECOND: [i64; LANES] = [4, 10, 20, 34];
    let mut sums = [0_u64; 4];
    for lane in 0..LANES {
        let j = lane as i64;
        let fourth = [if j == 3 { -1 } else { 0 }, FOURTH_OF_SECOND[lane], -(48 + 16 * j), 64];
        let weights = [[1, 0, 0, 0], [-j, 4, 0, 0], [j * (j - 1) / 2, -(6 + 4 * j), 16, 0], fourth];
        let lane = [a[lane], b[lane], c[lane], d[lane]];
        for (sum, weights) in sums.iter_mut().zip(weights) {
            for (value, weight) in lane.into_iter().zip(weights) {
                *sum = sum.wrapping_add(value.wrapping_mul(weight as u64));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the definition has it, a word at a time.
    fn plain(order: Order, bytes: &[u8]) -> [u64; 4] {
        let mut sums = [0_u64; 4];
        for word in bytes.as_chunks::<4>().0 {
            sums[0] = sums[0].wrapping_add(u64::from(order.u32(*word)));
            (1..4).for_each(|sum| sums[sum] = sums[sum].wrapping_add(sums[sum - 1]));
        }
        sums
    }

    #[test]
    fn a_known_sum() {
        let mut fletcher = Fletcher::new(Order::Little);
        fletcher.add(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(fletcher.sums(), [6, 10, 15, 21]);
    }

    #[test]
    fn large_words_over_several_blocks_wrap_as_they_should() {
        let bytes = vec![0xff; 5 * BLOCK * 4 + 12];
        for order in [Order::Little, Order::Big] {
            let mut fletcher = Fletcher::new(order);
            fletcher.add(&bytes);
            assert_eq!(fletcher.sums(), plain(order, &bytes));
        }
    }

    proptest! {
        #[test]
        fn lanes_and_pieces_change_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            cuts in proptest::collection::vec(0_usize..3000, 0..8),
            big in any::<bool>(),
        ) {
            let order = if big { Order::Big } else { Order::Little };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let (mut fletcher, mut from) = (Fletcher::new(order), 0);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                fletcher.add(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(fletcher.sums(), plain(order, &bytes));
        }
    }
}
