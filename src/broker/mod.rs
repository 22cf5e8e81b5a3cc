//! RabbitMQ: topology, consuming, publishing, one connection that comes back by itself.
//!
//! Only here: lapin and deadpool.
