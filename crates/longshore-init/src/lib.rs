//! `longshore-init` stands between a container's process 1 and the program of a job, or is process 1 itself.
//!
//! It starts the program and passes signals on to it. It watches the lease of a bot and ends the bot when the
//! lease runs out. It notes that the container began and what the kernel counted in it, and it ends with the
//! program's exit code. The worker mounts it into every container; it is a static program, so any image will do.
//!
//! Decisions are pure ([`lease::Watch`], [`stop::Stop`], [`environment::Environment`]); [`supervise`] does what
//! they say. It is one process with one thread: a program that has used up its processes cannot keep it from
//! ending the program.

pub mod environment;
pub mod exit;
pub mod lease;
pub mod note;
pub mod processes;
pub mod program;
pub mod result;
pub mod say;
pub mod signals;
pub mod stop;
pub mod supervise;
pub mod warm;

/// The folder in the job's directory that holds what is Longshore's own.
pub const OWN_FOLDER: &str = ".longshore";
