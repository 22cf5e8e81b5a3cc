//! What a worker owns, and how it shows that: [`tenure`] has the segments that are its own, [`mark`] the
//! lock that tells its neighbours on the same host that it lives.

pub(super) mod mark;
pub(super) mod tenure;
