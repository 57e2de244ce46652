//! The standby's side: survey, stop, configure, switch, start and prove.

mod again;
mod amcheck;
mod ask;
mod conf;
mod configure;
mod conninfo;
mod control_file;
mod copy;
mod intact;
mod judge;
mod log;
mod old_slot;
mod places;
mod postmaster;
mod power;
pub(crate) mod programs;
mod proof;
pub(crate) mod sender;
mod staged;
mod start;
mod stop;
pub(crate) mod survey;
mod switch;
mod tablespaces;
mod undo;
mod values;
