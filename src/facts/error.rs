//! Why something could not be learned or done.

use std::io;

use crate::broker::{BrokerError, PublishError, SettleError};
use crate::logs::ReadError;
use crate::storage::{JournalError, StoreError};

/// Why something could not be learned or done.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The broker failed, or there is no connection.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A dead letter could not be settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// A message could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// It cannot be done.
    #[error("{0}")]
    Refused(String),
    /// Whoever read what we wrote has gone, or could not be written to.
    #[error(transparent)]
    Output(#[from] io::Error),
}
