//! Tests against the program and against real servers.
//!
//! `scripts/stack.sh up` starts what they need: RabbitMQ, an S3 store, a container engine with the
//! images of both runtimes. `LONGSHORE_TEST_AMQP_URL`, `LONGSHORE_TEST_MANAGEMENT_URL`,
//! `MINIO_ENDPOINT`, `MINIO_ACCESS_KEY`, `MINIO_SECRET_KEY` and `DOCKER_HOST` say where these are,
//! if not there. The tests of the example clients install pika and amqplib under `target/clients`,
//! with this machine's `python3` and `npm`. A server that is missing is a failure, never a skip.
//!
//! Tests mostly wait, so more threads than processors are good: `--test-threads 6`. How many
//! workers run at a time is bounded by `longshore_testing::scene`, whatever the number of threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod any_image;
mod authors;
mod bad_input;
mod broker;
mod canaries;
mod cli;
mod clients;
mod cluster;
mod code_cache;
mod compat;
mod costless;
mod dashboard;
mod delivery;
mod engine;
mod examples;
mod failover;
mod fuzzing;
mod health;
mod hostile;
mod images;
mod inputs;
mod lifecycle;
mod logs;
mod messages;
mod metrics;
mod other_peoples_troubles;
mod readme;
mod rights;
mod robustness;
mod routing;
mod runtimes;
mod schemas;
mod settings;
mod state;
mod storage;
mod sweeps;
mod tls;
mod traces;
mod warm;
