//! What a worker owns, and how it shows that: a [`tenure`] is one segment of its own, [`tenures`] are all
//! of them. A [`mark`] tells its neighbours on the same host that it lives.

pub(super) mod mark;
pub(super) mod tenure;
pub(super) mod tenures;
