//! What must hold whatever the bytes are. The fuzz targets look for bytes for which it does not; an
//! ordinary test replays their corpus.

pub mod amqp_content;
pub mod archive;
pub mod result_json;
pub mod start_message;
