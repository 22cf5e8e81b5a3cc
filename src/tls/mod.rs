//! TLS as a client: whom to trust, how to identify ourselves, and why a handshake failed.
//!
//! [`TlsFiles`] are the files that the settings name. They are read again for each configuration,
//! so a certificate that is replaced on disk is used without a restart. [`TlsProblem`] says what
//! went wrong with a peer, and what fixes it.
//!
//! Only here: rustls's own types, except the configuration that is passed on. Not here:
//! connections.

mod files;
mod pem;
mod problem;

pub use files::{TlsFiles, TlsFilesError, system_authorities};
pub use problem::{Names, TlsProblem};
