//! How `longshore-init` itself ends, where that is not by the program's exit code. The numbers are those of
//! `sysexits.h` and of shells.

/// It was called in a wrong way, or `ENTRYPOINT_TYPE` says something unknown.
pub const USAGE: u8 = 64;

/// The kernel refused it something that it cannot do without.
pub const SYSTEM: u8 = 71;

/// The program is there, and cannot be started.
pub const CANNOT_START: u8 = 126;

/// There is no such program.
pub const NOT_FOUND: u8 = 127;

/// SIGTERM came before the program ran, or the program did not hear it.
pub const TERMINATED: u8 = 143;
