use super::*;

fn answer(status: u16, code: &str) -> Fault {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>"
    );
    S3Error::HttpFailWithBody(status, body).into()
}

fn error(fault: Fault, key: Option<&str>) -> StoreError {
    let call = Call { verb: "reading", endpoint: "http://store:1", bucket: "code", key };
    fault.into_error(&call, 5)
}

#[test]
fn a_missing_object_and_a_missing_bucket_differ() {
    let found = error(answer(404, "NoSuchKey"), Some("k"));
    assert!(
        matches!(found, StoreError::NotFound { bucket, key } if bucket == "code" && key == "k")
    );
    let found = error(answer(404, "NoSuchBucket"), Some("k"));
    assert!(matches!(found, StoreError::NoBucket { bucket } if bucket == "code"));
    assert!(matches!(error(answer(404, ""), None), StoreError::NoBucket { .. }));
}

#[test]
fn bad_credentials_say_what_was_refused_and_why() {
    for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"] {
        let text = match error(answer(403, code), Some("a.zip")) {
            denied @ StoreError::Denied { .. } => denied.to_string(),
            other => panic!("{other:?}"),
        };
        for part in ["\"a.zip\"", "\"code\"", code, "so it is", "MINIO_SECRET_KEY"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn only_what_may_pass_is_tried_again() {
    for (status, code) in [
        (408, ""),
        (429, "SlowDown"),
        (500, "InternalError"),
        (502, ""),
        (503, "SlowDown"),
        (504, ""),
        (409, "ConditionalRequestConflict"),
        (400, "RequestTimeout"),
    ] {
        assert!(answer(status, code).may_pass(), "{status} {code}");
    }
    for (status, code) in [
        (400, "InvalidArgument"),
        (401, ""),
        (403, "AccessDenied"),
        (404, "NoSuchKey"),
        (409, "BucketAlreadyOwnedByYou"),
        (412, "PreconditionFailed"),
        (416, ""),
        (501, "NotImplemented"),
    ] {
        assert!(!answer(status, code).may_pass(), "{status} {code}");
    }
    assert!(Fault::NoAnswer("reset".to_owned()).may_pass());
    assert!(!Fault::Local(io::Error::other("disk full")).may_pass());
    assert!(!Fault::TooLarge(1).may_pass());
}

#[test]
fn only_a_write_without_a_plain_answer_leaves_doubt() {
    assert!(Fault::NoAnswer("reset".to_owned()).leaves_doubt());
    assert!(answer(500, "InternalError").leaves_doubt());
    assert!(!answer(429, "SlowDown").leaves_doubt());
    assert!(!answer(409, "ConditionalRequestConflict").leaves_doubt());
    assert!(!answer(412, "PreconditionFailed").leaves_doubt());
}

#[test]
fn an_error_that_may_pass_is_transient_and_another_is_not() {
    let text = match error(answer(503, "SlowDown"), Some("k")) {
        found @ StoreError::Unavailable { attempts: 5, .. } => {
            assert!(found.is_transient());
            found.to_string()
        }
        other => panic!("{other:?}"),
    };
    assert!(text.contains("http://store:1") && text.contains("SlowDown"), "{text}");
    let rejected = error(answer(400, "InvalidArgument"), Some("k"));
    assert!(matches!(rejected, StoreError::Rejected { .. }), "{rejected:?}");
    assert!(!rejected.is_transient());
}

#[test]
fn an_answer_that_is_no_xml_is_still_an_answer() {
    let page = S3Error::HttpFailWithBody(502, "<html>Bad Gateway".to_owned());
    let text = error(page.into(), Some("k")).to_string();
    assert!(text.contains("HTTP 502"), "{text}");
}

#[test]
fn the_causes_of_a_failed_connection_are_told() {
    let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    let outer = io::Error::other(cause);
    assert!(causes(&outer).contains("connection refused"));
}

/// compat.md 7: any error but one was taken for an empty log, which was then written over.
#[test]
fn compat_7_no_other_failure_is_taken_for_a_missing_object() {
    let failures = [400, 401, 403, 408, 409, 412, 429, 500, 503].map(|status| answer(status, ""));
    let others = [Fault::NoAnswer(String::new()), Fault::Malformed(String::new())];
    for fault in failures.into_iter().chain(others) {
        let found = error(fault, Some("k"));
        assert!(!matches!(found, StoreError::NotFound { .. }), "{found:?}");
    }
}
