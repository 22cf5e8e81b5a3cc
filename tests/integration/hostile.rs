//! Strangers: workers get everything that could do them harm, and are none the worse for it.

mod amqp;
mod apart;
mod archives;
mod flood;
mod forged;
mod messages;
mod profile;
mod programs;
mod properties;
mod witness;
