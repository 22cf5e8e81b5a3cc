//! Tests against real servers: the addresses come from the environment.

mod support;

mod storage;
