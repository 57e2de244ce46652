//! Exit codes. Scripts and schedulers rely on them; they do not change.

/// The run did what it was for and proved it; or the command had nothing to complain about.
pub const DONE: u8 = 0;
/// It failed, and everything was taken back.
pub const FAILED: u8 = 1;
/// The call or the file is wrong; nothing was touched.
pub const WRONG: u8 = 2;
/// A check refused; nothing was touched.
pub const REFUSED: u8 = 3;
/// It failed, and something could not be taken back.
pub const STUCK: u8 = 4;
/// It was cancelled, and everything was taken back.
pub const CANCELLED: u8 = 130;
