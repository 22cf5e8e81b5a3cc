//! What stands between the socket and lapin: no byte of a stranger reaches lapin's parser unchecked.
//!
//! lapin reads the properties of every message that the broker delivers, and the broker passes on
//! what any publisher wrote. One short string that is not UTF-8 ends lapin's connection, and deeply
//! nested headers overflow its stack. So each frame is looked at before lapin sees it. Properties
//! that lapin could not read are replaced, and a header of ours says what was wrong, so that the
//! message is refused for that reason and everybody else's goes on.
//!
//! [`Filter`] decides and does no I/O; `stream` is the adapter around the socket.

mod bytes;
mod content;
mod frame;
mod message;
mod method;
mod table;

pub use content::BODY;
pub use frame::{Filter, Oversized};
pub use message::{
    ATTEMPT_HEADER, FIRST_TRY_HEADER, HeaderValue, MessageProperties, OutgoingMessage,
    QUEUE_HEADER, REASON_HEADER, Sender, TRACEPARENT_HEADER, Unreadable, properties_of,
    properties_of_copy, short,
};
pub use table::UNREADABLE_HEADER;
