//! A message broker in memory: [`server`] has exchanges, queues and locks, [`wire`] the connections of one worker to
//! it, [`client`] what the worker asks over them, and [`consumer`] takes its deliveries.

mod client;
mod consumer;
mod queue;
mod server;
mod wire;

pub(super) use client::SimulatedBroker;
pub(super) use server::Server;
pub(super) use wire::{Purpose, Wires};
