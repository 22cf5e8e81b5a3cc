//! The reading of lapin's errors: what the broker itself said.

use lapin::ErrorKind;

/// The broker's reply code for an exchange or a queue that does not exist.
pub(super) const NOT_FOUND: u16 = 404;

/// The broker's reply code, if the broker itself ended a channel or the connection.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// The broker's own message if there is one, else lapin's.
pub(super) fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}
