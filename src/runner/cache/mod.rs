//! What jobs share on this host: contents that are fetched and prepared once, such as unpacked code.
//!
//! A [`Cache`] is a directory. Every worker of the host that names the same directory uses it:
//!
//! ```text
//! entries/{key}/tree/…     the files that jobs share
//! entries/{key}/manifest   what the tree must be, with sizes and hashes
//! entries/{key}/use        its time is that of the last use; locked while somebody uses the entry
//! making/{id}/…            what is being made; locked by the process that makes it
//! objects/{hash}           which version of an object has which content
//! lock                     held while an entry is put in its place or taken away
//! ```
//!
//! An entry appears by one rename, and never changes afterwards. The kernel frees the locks of a
//! process that dies, so what nobody has locked in `making` is left over, and anybody removes it.
//!
//! Everything here blocks; callers use `spawn_blocking`. The room does not know what the contents
//! mean.

mod directory;
mod entry;
mod evict;
mod making;
mod manifest;
mod objects;
mod place;
mod spot;
mod store;
#[cfg(test)]
mod tests;

pub(super) use directory::CacheError;
pub(super) use entry::{Held, Key};
pub(super) use evict::Bounds;
pub(super) use making::Making;
pub(super) use manifest::Manifest;
pub(super) use objects::KnownObject;
pub(super) use place::{How, PlaceError};
pub(super) use spot::{Spot, SpotError, place_at};
pub(super) use store::Cache;
