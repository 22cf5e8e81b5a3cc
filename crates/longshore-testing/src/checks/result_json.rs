//! Whatever a container leaves behind, its result leads to a verdict and an event within its
//! bounds, its note is read or ignored, and secrets in its output are masked.

use bytes::Bytes;
use longshore_job::json::{JsonProblem, MAX_DEPTH};
use longshore_job::judging::exit_note;
use longshore_job::judging::result_text::{MAX_INLINE_RESULT_BYTES, ResultText, read_result};
use longshore_job::judging::{EndCause, Ending, Judgement, ResultFile, judge};
use longshore_job::mask::{MASKED, Mask};
use longshore_job::{Event, EventData, ExecutionResult, JsonText, ResourceUse, Verdict};
use serde_json::Value;
use serde_json::value::RawValue;

/// The size of an event without its result, in bytes: the sentence twice, in JSON.
const MAX_REST_BYTES: usize = 32 * 1024;

/// The secret that no text of a result may have.
const SECRETS: [&str; 4] = ["hunter22", "a\"b\\c", "s p/%41&", "1234567"];

pub fn check(bytes: &[u8]) {
    for mask in [Mask::default(), Mask::new(SECRETS)] {
        let read = read_result(&Bytes::copy_from_slice(bytes), &mask);
        check_read(bytes, &read, &mask);
        for exit_code in [0, 1, 137] {
            check_judged(read.clone(), exit_code);
        }
    }
    check_account(bytes);
    check_mask(bytes);
}

/// A text that other parsers accept as JSON is JSON for us, and other parsers accept what we store
/// and publish.
fn check_read(bytes: &[u8], read: &Result<ResultText, JsonProblem>, mask: &Mask) {
    let result = match read {
        Ok(result) => result,
        Err(problem) => {
            let by_others = serde_json::from_slice::<Value>(bytes);
            assert!(by_others.is_err(), "{problem}");
            return assert!(!problem.to_string().contains(char::is_control), "{problem}");
        }
    };
    serde_json::from_slice::<&RawValue>(&result.bytes).unwrap();
    assert!(depth(&result.bytes) <= MAX_DEPTH);
    let inline = result.inline.as_ref().map(JsonText::as_str);
    assert!(inline.is_none_or(|text| text.len() <= MAX_INLINE_RESULT_BYTES));
    if mask.is_empty() {
        assert!(bytes.ends_with(&result.bytes), "it was changed without a reason");
        return;
    }
    for text in inline.map(str::as_bytes).into_iter().chain([&result.bytes[..]]) {
        if let Ok(value) = serde_json::from_slice::<Value>(text) {
            assert_hidden(&value);
        }
    }
}

fn assert_hidden(value: &Value) {
    let hidden = |text: &str| SECRETS.iter().all(|secret| !text.contains(secret));
    match value {
        Value::String(text) => assert!(hidden(text), "{text:?}"),
        Value::Array(values) => values.iter().for_each(assert_hidden),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            assert!(hidden(name), "{name:?}");
            assert_hidden(value);
        }),
        Value::Number(number) => assert!(hidden(&number.to_string()), "{number}"),
        Value::Null | Value::Bool(_) => {}
    }
}

/// How deep lists and objects of a JSON text are nested.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut most, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth -= 1,
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

fn check_judged(read: Result<ResultText, JsonProblem>, exit_code: i64) {
    let is_unusable = read.is_err();
    let (result, value) = match read {
        Ok(result) => (ResultFile::Valid(result.said), result.inline),
        Err(problem) => (ResultFile::Unusable(problem.to_string()), None),
    };
    // In an event, a null field counts as missing.
    let value = value.filter(|value| value.as_str() != "null");
    let judgement = judge(&Ending {
        cause: EndCause::Itself,
        exit_code: Some(exit_code),
        oom_killed: false,
        heap_was_full: false,
        memory_mb: 64,
        engine_error: None,
        result,
    });
    let is_good = exit_code == 0 && !is_unusable;
    assert_eq!(judgement.verdict == Verdict::Succeeded, is_good, "{judgement:?}");
    let event = event_of(judgement, value);
    let wire = serde_json::to_vec(&event).unwrap();
    assert!(wire.len() <= MAX_INLINE_RESULT_BYTES + MAX_REST_BYTES, "{} bytes", wire.len());
    let read: Event = serde_json::from_slice(&wire).unwrap();
    assert_eq!(read, event);
    assert_eq!(event.routing_key().as_str().split('.').count(), 3);
}

fn event_of(judgement: Judgement, value: Option<JsonText>) -> Event {
    let blank = serde_json::json!({
        "status": "running", "message": "", "output": "", "duration_seconds": 0.0,
        "metadata": {}, "is_long_running": false, "attempt": 1, "worker": "w",
        "finished_at": "2026-01-01T00:00:00Z", "id": "job-1", "run_id": "run-1",
        "entrypoint": "backtest",
    });
    let mut result: ExecutionResult = serde_json::from_value(blank).unwrap();
    result.status = judgement.verdict.status();
    result.verdict = Some(judgement.verdict);
    result.error = Some(judgement.message.clone());
    result.message = judgement.message;
    result.result = value;
    Event::new("run-1/result".to_owned(), "/x".to_owned(), None, EventData::Result(result))
}

fn check_account(bytes: &[u8]) {
    let Some(used) = std::str::from_utf8(bytes).ok().and_then(|note| exit_note::parse(note).used)
    else {
        return;
    };
    assert!(used.cpu_seconds.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0));
    let wire = serde_json::to_vec(&used).unwrap();
    assert_eq!(serde_json::from_slice::<ResourceUse>(&wire).unwrap(), used);
}

/// The first line is the secret, the rest is the output.
fn check_mask(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(secret) = std::str::from_utf8(&bytes[..end]) else { return };
    let text = &bytes[end + 1..];
    if secret.len() < 4 || secret.len() > 64 || text.len() > 4096 {
        return;
    }
    let mask = Mask::new([secret]);
    assert_masked(&mask.apply(text.to_vec()), secret, MASKED);
    for size in [1, 3, 7] {
        let (mut shown, mut kept) = (Vec::new(), Vec::new());
        for piece in text.chunks(size) {
            kept.extend_from_slice(piece);
            let rest = kept.split_off(mask.safe_end(&kept));
            shown.extend(mask.apply(std::mem::replace(&mut kept, rest)));
        }
        shown.extend(mask.apply(kept));
        assert_masked(&shown, secret, MASKED);
    }
}

/// No part of the shown text, between the masks, has the secret.
fn assert_masked(shown: &[u8], secret: &str, masked: &str) {
    let (secret, masked) = (secret.as_bytes(), masked.as_bytes());
    let mut rest = shown;
    while let Some(at) = find(rest, masked) {
        assert!(find(&rest[..at], secret).is_none(), "a secret is shown");
        rest = &rest[at + masked.len()..];
    }
    assert!(find(rest, secret).is_none(), "a secret is shown");
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
