//! How the pull of an image shows how far it is, whichever engine pulls it.

/// The target of every log line about pulls. A log filter can name it.
pub const PULLS: &str = "longshore::pull";

/// How a pull shows how far it is. The caller knows whether standard error is a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A bar on standard error.
    Bar,
    /// A line in the log every few seconds.
    Log,
}
