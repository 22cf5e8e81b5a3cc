//! What must hold for any bytes. The fuzz targets search for bytes for which it does not hold. An
//! ordinary test replays their corpus.

pub mod amqp_content;
pub mod archive;
pub mod result_json;
pub mod start_message;
