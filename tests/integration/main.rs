//! Tests against the program and against real servers: the addresses come from the environment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod support;

mod bad_input;
mod broker;
mod cli;
mod clients;
mod compat;
mod delivery;
mod engine;
mod examples;
mod images;
mod lifecycle;
mod logs;
mod schemas;
mod settings;
mod storage;
mod user_code;
