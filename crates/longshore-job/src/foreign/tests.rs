use serde_json::json;

use super::*;

#[test]
fn what_libraries_send_instead_of_json_is_named_with_advice() {
    let bson = [&[14, 0, 0, 0, 2][..], b"id\0\x01\0\0\0\0\0"].concat();
    let cases: [(&[u8], &str); 36] = [
        (b"\xff\xfe{\0\"\0", "is UTF-16 text, not JSON: send the message as JSON text"),
        (b"{\0\"\0i\0", "is UTF-16 text"),
        (b"\0{\0\"", "is UTF-16 text"),
        (b"\xff\xfe\0\0{\0\0\0", "is UTF-32 text"),
        (b"{\0\0\0\"\0\0\0", "is UTF-32 text"),
        (b"\xac\xed\0\x05sr\0\x11java.util.HashMap", "is a serialized Java object"),
        (b"\x80\x04\x95\x10\0\0\0}\x94.", "is a Python pickle, not JSON: send json.dumps"),
        (b"(dp0\nS'id'\np1\n.", "is a Python pickle"),
        (b"\x82\xa2id\xa1a\xa1b\x01", "is MessagePack"),
        (b"\xa1bidaa", "is CBOR"),
        (b"\x83t\0\0\0\x01", "is an Erlang term"),
        (&bson, "is BSON"),
        (b"a:1:{s:2:\"id\";s:1:\"a\";}", "is serialized by PHP"),
        (b"<job id='x'/>", "is XML"),
        (b"{'id': 'a', 'x': True}", "is a dict as Python prints it"),
        (b"eyJpZCI6ICJhIn0=", "is JSON in base64, not JSON: send the text itself"),
        (b"[object Object]", "is a JavaScript object as text"),
        (b"id=a&runtime=python3.11", "is form data"),
        (b"id: x\nruntime: python3.11\n", "is perhaps YAML"),
        (b"PK\x03\x04", "is a zip, not JSON: upload the code"),
        (b"b'{\"id\": \"a\"}'", "is bytes as Python prints them"),
        (b"<Buffer 7b 22>", "is a Buffer as Node.js prints it"),
        (b"{\"id\"=>\"a\", \"x\"=>1}", "is a hash as Ruby prints it"),
        (b"{:id=>\"a\"}", "is a hash as Ruby prints it"),
        (b"{\"id\" => \"a\"}", "is a hash as Ruby prints it"),
        (b"{id=a, x=1}", "is a map as Java prints it"),
        (b"{id: \"a\"}", "is an object whose names have no quotes"),
        (b"{\n  id : 1}", "is an object whose names have no quotes"),
        (b"map[id:a x:1]", "is a map as Go prints it"),
        (b"&{a 1}", "is a struct as Go prints it"),
        (b"%{\"id\" => \"a\"}", "is a map as Elixir prints it"),
        (b"{\\\"id\\\": 1}", "is JSON with a backslash before each quote"),
        (b"%7B%22id%22%3A1%7D", "is JSON in percent-encoding"),
        (b"System.Collections.Generic.Dictionary`2", "is a .NET object as text"),
        (b"7b226964223a317d", "is JSON in hexadecimal"),
        (b"H4sIAAAAAAAA/w==", "is gzip in base64"),
    ];
    for (body, what) in cases {
        let said = format_of(body).unwrap_or_default();
        assert!(said.starts_with(what), "{body:?}: {said}");
    }
    for other in [&b""[..], b"{", b"stop", b"\x80", b"{\"id\": \"a\",}", b"\xff", b"Hello, you"] {
        assert_eq!(format_of(other), None);
    }
}

#[test]
fn bytes_of_no_known_format_are_told_as_such_and_never_shown() {
    for (body, what) in [
        (&b"\x0a\x03abc\x12\x01"[..], Some("is binary data of a format that is not known here")),
        (b"\x0b\x05\x80{\"id\"", Some("is binary data")),
        (b"{\"id\": \"caf\xe9\"}", Some("is not UTF-8: byte 12 is 0xe9, as in text of another")),
        (b" {\"id\": \"a\xed\xa0\x80\"}", Some("is not UTF-8: byte 11 is 0xed")),
        (b"stop my-bot", Some("is not JSON: a start message is a JSON object, which begins")),
        ("\u{17c}\u{f3}\u{142}w".as_bytes(), Some("is not JSON: a start message")),
        (b"{\"id\": \"a\",}", None),
        (b"\"text", None),
    ] {
        let said = unnamed_format_of(body, "a start message");
        let is_right = match (&said, what) {
            (Some(said), Some(what)) => said.starts_with(what),
            (said, what) => said.is_none() && what.is_none(),
        };
        assert!(is_right, "{body:?}: {said:?}");
    }
}

#[test]
fn words_of_other_languages_are_told_with_advice() {
    for (text, advice) in [
        ("{\"a\": NaN}", "NaN is not a number of JSON"),
        ("{\"a\":\n [1, Infinity]}", "Infinity is not a number of JSON"),
        ("{\"a\": -Infinity}", "Infinity is not a number of JSON"),
        ("{\"a\": None}", "this is how Python prints null"),
        ("{\"a\": [True]}", "this is how Python prints true"),
        ("{\"a\": undefined}", "undefined is not JSON"),
        ("{\"a\": 'b'}", "strings have double quotes in JSON"),
        ("{ // the job\n\"a\": 1}", "JSON has no comments"),
        ("{\"a\": 1, /* b */ \"b\": 2}", "JSON has no comments"),
        ("{\"a\": /* b */ 2}", "JSON has no comments"),
        ("{\"a\": 1 # b\n}", "JSON has no comments"),
        ("{\u{201c}a\u{201d}: 1}", "the quotes of JSON are straight ones"),
        ("{\"a\": .5}", "a number begins with a digit in JSON"),
        ("{\"a\": +5}", "a number begins with a digit or a minus in JSON"),
    ] {
        let error = serde_json::from_str::<Value>(text).unwrap_err();
        let said = advice_at(text.as_bytes(), error.line(), error.column()).unwrap_or_default();
        assert!(said.starts_with(advice), "{text}: {error}: {said}");
    }
    assert_eq!(advice_at(b"{", 1, 2), None);
    assert_eq!(advice_at(b"", 0, 0), None);
}

#[test]
fn what_is_no_object_is_said_to_be_what_it_is() {
    for (value, what) in [
        (json!("{\"id\": \"a\"}"), "is a JSON string with JSON in it, not an object"),
        (json!("eyJpZCI6ICJhIn0="), "is a JSON string with base64 of JSON in it"),
        (json!("start"), "is a string, not an object"),
        (json!(7), "is a number, not an object"),
        (json!(null), "is null, not an object"),
        (json!(["x"]), "is an array, not an object"),
        (json!([{"id": "x"}]), "is an array with an object in it, not an object"),
        (
            json!([["a"], {}, {"callbacks": null, "errbacks": null}]),
            "is a task message of Celery: publish",
        ),
    ] {
        let said = kind_of(&value);
        assert!(said.starts_with(what), "{said}");
    }
}

#[test]
fn an_envelope_is_named_and_a_message_is_none() {
    let start = json!({"id": "a", "runtime": "python3.11", "file_path": "a.zip"});
    for (envelope, what) in [
        (json!({"specversion": "1.0", "id": "1", "source": "/x", "data": start}), "\"data\""),
        (json!({"pattern": "start", "data": start}), "an envelope of NestJS"),
        (json!({"Type": "Notification", "TopicArn": "t", "Message": "{}"}), "Amazon SNS"),
        (json!({"id": "1", "task": "t", "args": [], "kwargs": {}}), "Celery"),
        (json!({"version": 1, "job": start}), "is an envelope: the body must be"),
    ] {
        let said = envelope_of(envelope.as_object().unwrap()).unwrap();
        assert!(said.contains(what), "{said}");
    }
    for message in [start, json!({"id": "a"}), json!({"config": {"a": {"id": 1}}}), json!({})] {
        assert_eq!(envelope_of(message.as_object().unwrap()), None);
    }
}

#[test]
fn a_start_and_a_stop_are_told_apart() {
    let object = |value: Value| value.as_object().unwrap().clone();
    assert!(looks_like_stop(&object(json!({"id": "a", "reason": "r"}))));
    assert!(!looks_like_stop(&object(json!({"id": "a", "config": {}}))));
    assert!(!looks_like_stop(&object(json!({"reason": "r"}))));
    assert!(looks_like_start(&object(json!({"runtime": 1, "entrypoint": 2}))));
    assert!(!looks_like_start(&object(json!({"id": "a", "runtime": "x"}))));
}
