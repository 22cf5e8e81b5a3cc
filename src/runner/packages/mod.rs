//! The packages that a program needs, installed as its runtime needs them.
//!
//! `lock` reads which packages a directory asks for, `install` has them installed in a container of
//! the runtime's own image, and `progress` reads how far that is. What was installed is an entry of a
//! cache, by the hash of the lock files and the image.

mod install;
mod lock;
mod progress;

pub use install::{InstallError, Installed, Installer};
pub use lock::{Lock, LockError, Manager};
pub use progress::Step;
