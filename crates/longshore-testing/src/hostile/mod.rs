//! What a stranger could send to do harm: archives, start messages and their properties, made by code.
//!
//! Unit tests, integration tests and the seeds of the fuzz targets share them. Nothing here imports
//! the product.

pub mod amqp;
pub mod archives;
pub mod messages;
pub mod results;
pub mod zips;
