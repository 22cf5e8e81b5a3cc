//! Container logs: frames in, immutable chunks out, on a timer.

mod frame;

pub use frame::{Frame, Stream};
