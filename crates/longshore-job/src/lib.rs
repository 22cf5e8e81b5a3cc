//! The vocabulary of Longshore: what a message may say, what a job is, how a run can end, what an
//! event carries. Also the readers of strangers' bytes: zips ([`archive`]), results ([`judging`]),
//! secrets in texts ([`mask`]), AMQP properties (`amqp`, with the feature of that name).
//!
//! Only the unpacking and packing of zips does I/O. Clients in Rust and the fuzz targets use only
//! this crate.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod archive;
pub mod artifacts;
mod body;
mod bounds;
mod env;
mod event;
mod executable;
mod explain;
mod foreign;
mod id;
pub mod inputs;
pub mod json;
pub mod judging;
mod log_lines;
pub mod mask;
mod object;
mod pick;
mod progress;
mod read;
mod refusal;
mod result;
mod run;
mod runtime;
mod runtimes;
mod secrets;
pub mod series;
pub mod state;
mod stored;
pub mod sweep;
mod validate;
mod verdict;
mod violation;

pub mod schema;
pub mod sentence;

pub use bounds::{Bounds, Limits, SweepBounds};
pub use event::{Event, EventData, JobKind, RESULT_TYPE, RoutingKey, STATUS_TYPE, State, Status};
pub use executable::{
    Entrypoint, Executable, HealthCheck, LimitsRequest, Network, RestartPolicy, RestartWhen,
    StopRequest,
};
pub use id::{InvalidId, JobId, RunId};
pub use json::JsonText;
pub use log_lines::{LineStream, Listening, LiveLine, LogLines};
pub use pick::pick_texts;
pub use progress::{MAX_PROGRESS_TEXT, ProgramProgress, RunProgress};
pub use read::{check_properties, check_size, decoded, parse_executable, parse_stop};
pub use refusal::{body_sha256, refusal_id};
pub use result::{ExecutionResult, ResourceUse, StoredObjects};
pub use run::Run;
pub use runtime::{InvalidName, Launcher, Runtime, RuntimeName};
pub use runtimes::Runtimes;
pub use secrets::{MIN_SECRET_BYTES, secrets_of_invalid};
pub use stored::parse_stored_executable;
pub use validate::Job;
pub use verdict::{FollowUp, ResultStatus, Verdict};
pub use violation::{MessageError, Violation, quoted};
