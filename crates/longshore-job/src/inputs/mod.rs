//! The inputs of a run: objects of the inputs bucket that the program finds among its own files.

mod check;
mod request;

pub(crate) use check::check;
pub use check::check_key_of;
pub use request::Input;
