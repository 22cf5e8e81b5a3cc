//! Longshore: a job worker that runs bots and backtests from RabbitMQ in Docker containers.
//!
//! The modules stand in reading order, from the vocabulary to the queue side.

pub use longshore_job as job;

pub mod settings;
pub mod tls;

pub mod traces;

pub mod metrics;

pub mod broker;
pub mod logs;
pub mod storage;

pub mod runner;
pub mod worker;

pub mod facts;
pub mod http;

pub mod cli;
