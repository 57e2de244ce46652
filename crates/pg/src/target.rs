//! The standby's side: survey, stop, configure, switch, start and prove.
