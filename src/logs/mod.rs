//! Container logs: frames in, immutable chunks out, on a timer; at the end of a day or a run the
//! chunks become the daily log.
//!
//! [`LogCollector`] is the segment's loop. One `Shipper` for each container does the work. Pure
//! code is separate: frames to lines (`line`), secrets (`mask`), lines to chunks (`chunk`), names
//! (`key`). Chunks that wait for the store are in a `backlog`, in memory and on disk (`spool`). No
//! engine here: frames come as a stream. No S3 here: chunks go to an
//! [`ObjectStore`](crate::storage::ObjectStore).

mod backlog;
mod chunk;
mod collector;
mod compact;
mod finish;
mod frame;
mod handle;
mod heard;
mod intake;
mod key;
mod line;
mod live;
mod measuring;
mod output;
mod reader;
mod retention;
mod room;
mod series;
mod shared;
mod shipper;
mod source;
mod spool;
mod storing;
#[cfg(test)]
mod testing;

pub use crate::job::mask::{MASKED, Mask, Masks};
pub use collector::LogCollector;
pub use compact::{MAX_DAILY_BYTES, compact};
pub use frame::{Cursor, CursorTracker, Frame, NotACursor, Order, Stream};
pub use handle::{LogHandle, LogSummary};
pub use heard::Said;
pub use intake::LOST_NOTICE;
pub use key::{Day, InvalidDay, daily_key};
pub use line::{CUT_MARK, Ending, Line, MAX_LINE_BYTES, StoredLine};
pub use live::{LISTENING_HOLDS, LiveFeed};
pub use reader::{LogQuery, MAX_TAIL_LINES, ReadError, Sink, list_days, read, stored_up_to};
pub use retention::{RetentionError, sweep};
pub use source::{LiveTap, LogSource};
