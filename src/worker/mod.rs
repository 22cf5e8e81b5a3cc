//! The queue side: intake, claim, run, settle, stop, segment, recover, drain.
