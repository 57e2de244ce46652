//! The mark of a process: by it, what it has started is told from everything else, also after its death.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// Hex digits of a mark.
const DIGITS: usize = 16;

/// The variable by which the children of a process on its own machine have its mark.
pub(super) const VARIABLE: &str = "RESEED_PROCESS";

/// This process's mark: 16 hex digits that no other process has.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| format!("{:016x}", RandomState::new().build_hasher().finish()))
}

/// Whether a text is a mark. With anything else, processes of others could be found.
pub(super) fn is_mark(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_mark() {
        assert_eq!(mark(), mark());
        assert!(is_mark(mark()), "{}", mark());
        for odd in ["", "0", "*", "000000000000000g", "00000000000000000"] {
            assert!(!is_mark(odd), "{odd}");
        }
    }
}
