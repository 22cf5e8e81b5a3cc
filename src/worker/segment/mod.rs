//! What a worker does with segments: [`adopt`] says which it takes, [`hold`] is the life of one, from
//! its claim to its release. [`recover`] takes up what its last owner left; [`sweep`] removes what is
//! nobody's.

pub(super) mod adopt;
pub(super) mod hold;
pub(super) mod recover;
pub(super) mod sweep;
