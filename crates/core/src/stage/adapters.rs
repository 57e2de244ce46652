//! The narrow traits that authors implement, each with one adapter to [`Stage`](super::Stage).

mod filter;
mod sink;
mod source;
mod transport;

pub use filter::{Filter, FilterStage};
pub use sink::{Sink, SinkStage};
pub(crate) use sink::{receive, report_received};
pub use source::{Source, SourceStage};
pub use transport::{Transport, TransportStage};

use crate::Error;
use crate::item::Item;

pub(crate) fn unexpected(stage: &str, item: &Item) -> Error {
    Error::failed(format!("{stage} was given {:?}, which the fold over kinds should have refused", item.payload))
}
