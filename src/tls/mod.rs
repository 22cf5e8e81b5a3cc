//! TLS as a client: whom to trust, how to show ourselves, and what a handshake that failed says.
//!
//! [`TlsFiles`] are the files that the settings name; they are read anew whenever a configuration is
//! made of them, so a certificate that is replaced on disk is taken up without a restart.
//! [`TlsProblem`] is what went wrong with a peer, in words that lead to what mends it.
//!
//! Only here: rustls's own types, but for the one configuration that is handed on. Not here:
//! connections.

mod files;
mod pem;
mod problem;

pub use files::{TlsFiles, TlsFilesError};
pub use problem::{Names, TlsProblem};
