//! Container logs: frames in, immutable chunks out, on a timer; at the end of a day or a run the
//! chunks become the daily log.
//!
//! [`LogCollector`] is the segment's loop; a `Shipper` a container does its work. What is pure
//! stands apart: frames to lines (`line`), lines to chunks (`chunk`), names (`key`). No engine
//! here: frames come as a stream. No S3 here: chunks go to an
//! [`ObjectStore`](crate::storage::ObjectStore).

mod chunk;
mod collector;
mod compact;
mod frame;
mod handle;
mod intake;
mod key;
mod line;
mod output;
mod reader;
mod settle;
mod shipper;
mod storing;
#[cfg(test)]
mod testing;

pub use collector::{LiveTap, LogCollector, LogSource};
pub use compact::{MAX_DAILY_BYTES, compact};
pub use frame::{Frame, Stream};
pub use handle::{LogHandle, LogSummary};
pub use key::{Day, InvalidDay, daily_key};
pub use line::{CUT_MARK, Ending, Line, MAX_LINE_BYTES, StoredLine};
pub use reader::{LogQuery, MAX_TAIL_LINES, ReadError, Sink, list_days, read};
