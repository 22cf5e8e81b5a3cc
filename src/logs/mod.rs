//! Container logs: frames in, immutable chunks out, on a timer.

mod chunk;
mod frame;
mod key;
mod line;
mod output;

pub use frame::{Frame, Stream};
