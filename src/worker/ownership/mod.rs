//! What a worker owns, and how it proves it. A [`tenure`] is one segment of its own, [`tenures`]
//! are all of them. A [`mark`] tells its neighbours on the same host that it is alive. The
//! [`machine`] provides it, and clocks.

pub(super) mod machine;
pub(super) mod mark;
pub(super) mod tenure;
pub(super) mod tenures;
