//! What the tests of Longshore share.

pub mod checks;
pub mod hostile;
