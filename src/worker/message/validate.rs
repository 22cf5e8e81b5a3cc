//! From a message to a job, within this worker's bounds: for a delivery, and for a record in the
//! journal.

use std::borrow::Cow;

use crate::broker::Delivery;
use crate::job::{
    Job, MessageError, check_properties, decoded, parse_executable, parse_stored_executable,
    secrets_of_invalid,
};
use crate::storage::JobRecord;
use crate::worker::context::Tools;
use crate::worker::decide::Incoming;

/// A valid start message.
pub(in crate::worker) struct Start {
    /// What it asks for.
    pub job: Job,
    /// The message, unpacked.
    pub text: String,
    /// What it says about itself.
    pub incoming: Incoming,
}

/// The start in a delivery.
pub(in crate::worker) fn validate(
    tools: &Tools,
    delivery: &Delivery,
) -> Result<Start, MessageError> {
    let text = text_of(tools, delivery)?;
    let message_id = delivery.properties.message_id.as_deref();
    let job = parse_executable(&text)
        .and_then(|executable| Job::validate(executable, &tools.bounds, message_id))
        .and_then(|job| check_reply_to(tools, delivery, job))
        .map_err(|error| without_secrets(tools, error, &text))?;
    let published_at = delivery.properties.timestamp;
    let incoming = Incoming { run_id: job.run_id.clone(), published_at };
    // Text that was read as JSON is UTF-8.
    Ok(Start { job, text: String::from_utf8_lossy(&text).into_owned(), incoming })
}

/// The text of a start or stop message, however its publisher packed it.
pub(in crate::worker) fn text_of<'a>(
    tools: &Tools,
    delivery: &'a Delivery,
) -> Result<Cow<'a, [u8]>, MessageError> {
    let encoding = delivery.properties.content_encoding.as_deref();
    let text = decoded(&delivery.body, encoding, tools.settings.max_message_bytes);
    let unreadable = delivery.properties.unreadable.iter();
    let unreadable = unreadable.map(|fault| (fault.property.as_str(), fault.problem.as_str()));
    check_properties(text.as_deref().unwrap_or(&delivery.body), unreadable)?;
    text
}

/// Refuses a start whose result could not be sent to its `reply_to`: it would run, and its
/// publisher would wait for ever.
fn check_reply_to(tools: &Tools, delivery: &Delivery, job: Job) -> Result<Job, MessageError> {
    let asked = delivery.properties.reply_to.as_deref().filter(|queue| !queue.is_empty());
    match asked.and_then(|queue| tools.broker.reply_rules().problem(queue)) {
        Some(problem) => Err(MessageError::of_property("reply_to", &problem, &job)),
        None => Ok(job),
    }
}

/// What is wrong with a message, without its secrets.
fn without_secrets(tools: &Tools, error: MessageError, body: &[u8]) -> MessageError {
    let mask = tools.publisher.mask(&secrets_of_invalid(body));
    error.with_texts(|text| mask.text(text))
}

/// The job of a record, and the parts of its message that exceed this worker's bounds: it was
/// accepted under other settings, and a running job goes on.
pub(in crate::worker) fn job_of(
    tools: &Tools,
    record: &JobRecord,
) -> Result<(Job, Option<MessageError>), MessageError> {
    let (body, id) = (record.message.body.as_bytes(), record.message_id.as_deref());
    let masked = |error| without_secrets(tools, error, body);
    let message = parse_stored_executable(body).map_err(masked)?;
    let (mut job, beyond) = match Job::validate(message.clone(), &tools.bounds, id) {
        Ok(job) => (job, None),
        Err(beyond) => {
            let wide = tools.bounds.admitting(&message);
            (Job::validate(message, &wide, id).map_err(masked)?, Some(masked(beyond)))
        }
    };
    // A message without an id got a run when it was claimed, and keeps it.
    job.run_id = record.run_id.clone();
    Ok((job, beyond))
}
