//! What a stranger could send to do harm: archives, start messages and their properties, made by code.
//!
//! Unit tests, integration tests and the seeds of the fuzz targets share them, each by including
//! this folder. Nothing here imports the crate.

pub(crate) mod amqp;
pub(crate) mod archives;
pub(crate) mod messages;
pub(crate) mod results;
pub(crate) mod zips;
