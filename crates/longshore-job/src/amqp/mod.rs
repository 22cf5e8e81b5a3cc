//! The filter between the socket and lapin: no byte of a stranger reaches lapin's parser unchecked.
//!
//! lapin reads the properties of every message that the broker delivers, and the broker passes on
//! what any publisher wrote. One short string that is not UTF-8 ends lapin's connection, and deeply
//! nested headers overflow its stack. So the filter checks each frame before lapin sees it. It
//! replaces properties that lapin could not read, and says in a header of ours what was wrong. The
//! worker refuses that message, and all others go on.
//!
//! [`Filter`] decides and does no I/O. The broker's `guarded.rs` is the adapter around the socket.

mod bytes;
mod content;
mod frame;
mod headers;
mod message;
mod method;
mod table;

pub use content::BODY;
pub use frame::{Filter, Oversized};
pub use headers::{number_header, shown_headers, text_header};
pub use message::{
    ATTEMPT_HEADER, FIRST_TRY_HEADER, HeaderValue, MessageProperties, OutgoingMessage,
    QUEUE_HEADER, REASON_HEADER, Sender, TRACEPARENT_HEADER, Unreadable, properties_of,
    properties_of_copy, short,
};
pub use table::UNREADABLE_HEADER;
