//! What several tests use.

pub(crate) mod proxy;
pub(crate) mod s3;
