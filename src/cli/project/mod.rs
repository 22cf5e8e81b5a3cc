//! A directory with a program in it, as its author has it.

mod files;
mod found;

pub(super) use files::{Files, IGNORE_FILE};
pub(super) use found::{draft_of, id_of, told};
