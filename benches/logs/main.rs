//! `cargo bench --bench logs`: what shipping logs costs, measured beside the other ways to do it.
//!
//! - *bytes*: a simulated day of ticks of 30 seconds, with the bytes that go to the store for each
//!   byte of log, beside reading, appending and writing the daily object at each tick;
//! - *flood*: a container that writes as fast as it can, beside `docker logs -f` into a file, with
//!   the worker's memory, and how long another bot's lines take meanwhile;
//! - *idle*: bots that write nothing, and what the worker's loop costs then.
//!
//! Needs the local stack, as the integration tests do, and the `docker` client; leaves nothing
//! behind. `BENCH_ONLY` chooses one of the three; `BENCH_FLOOD_MB` (200) and `BENCH_IDLE_BOTS`
//! (300) say how much is run.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "the tables are what the program is for")]

mod bytes_put;
mod flood;
mod idle;

use longshore_testing::variable;

fn main() {
    let only = variable("BENCH_ONLY");
    let is_chosen = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if is_chosen("bytes") {
        bytes_put::measure();
    }
    if is_chosen("flood") {
        runtime().block_on(flood::measure());
    }
    if is_chosen("idle") {
        runtime().block_on(idle::measure());
    }
}

/// A whole number from the environment.
fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().expect(name))
}

/// One line of a table.
fn row(name: &str, values: &[String], unit: &str) {
    print!("{name:<46}");
    for value in values {
        print!("{value:>10}");
    }
    println!("  {unit}");
}

#[allow(clippy::cast_precision_loss, reason = "figures to be read by people")]
fn float(number: u64) -> f64 {
    number as f64
}
