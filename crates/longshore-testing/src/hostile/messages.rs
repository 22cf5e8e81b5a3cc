//! Start messages that must be refused, each with a part of the error.

use serde_json::{Value, json};

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    pub name: &'static str,
    pub body: Vec<u8>,
    /// A part of the error.
    pub reason: &'static str,
    /// Whether its id can be read.
    pub has_id: bool,
}

/// A message that is accepted.
pub fn good(id: &str) -> Value {
    json!({
        "id": id,
        "runtime": "python3.11",
        "entrypoint": "backtest",
        "entrypoint_files": {"backtest": "backtest.py"},
        "file_path": "code.zip",
        "config": {"fast": 10},
        "is_long_running": false,
        "persist_results": true,
    })
}

/// Every message that must be refused, each under an id of its own that begins with `id`.
pub fn all(id: &str) -> Vec<Message> {
    [broken(), nested(id), ids(), types(id), texts(id), environment(id), absurd(id)].concat()
}

/// A message that is not even an object, or not JSON.
fn broken() -> Vec<Message> {
    let case =
        |name, body: &[u8], reason| Message { name, body: body.into(), reason, has_id: false };
    let not_json = "is not valid JSON";
    vec![
        case("empty", b"", "$: is empty: a start message is a JSON object"),
        case("spaces", &[b' '; 1000], "$: is empty"),
        case("nul-bytes", &[0; 100], "$: is binary data of a format that is not known here"),
        case("torn", b"{\"id\": \"x\", ", not_json),
        case("not-utf-8", b"{\"id\": \"\xff\xfe\"}", "$: is not UTF-8: byte 9 is 0xff"),
        case("utf-16", b"\xff\xfe{\0}\0", "$: is UTF-16 text, not JSON"),
        case("utf-16-unmarked", b"\0{\0}", "$: is UTF-16 text, not JSON"),
        case("utf-32", b"\xff\xfe\0\0{\0\0\0", "$: is UTF-32 text, not JSON"),
        case("byte-order-mark", b"\xef\xbb\xbf{}", "id: is missing"),
        case("overlong-slash", b"{\"id\": \"\xc0\xaf\"}", "$: is not UTF-8: byte 9 is 0xc0"),
        case("xml", b"<job id='x'/>", "$: is XML, not JSON"),
        case(
            "pickle",
            b"\x80\x04\x95\x10\x00\x00\x00cposix\nsystem\n.",
            "$: is a Python pickle, not JSON: send json.dumps(message)",
        ),
        case("java", b"\xac\xed\x00\x05sr\x00\x11java", "$: is a serialized Java object, not JSON"),
        case("messagepack", b"\x81\xa2id\xa1x", "$: is MessagePack, not JSON"),
        case("base64", b"eyJpZCI6ICJ4In0=", "$: is JSON in base64, not JSON"),
        case("zip", b"PK\x03\x04\x14\x00", "$: is a zip, not JSON: upload the code"),
        case("yaml", b"id: x\nruntime: python3.11\n", "$: is perhaps YAML, not JSON"),
        case("two-objects", b"{\"id\": \"x\"} {}", not_json),
        case("single-quotes", b"{'id': 'x'}", "$: is a dict as Python prints it, not JSON"),
        case("comment", b"{/* */\"id\": \"x\"}", "JSON has no comments"),
        case("lone-surrogate", br#"{"id": "\ud800"}"#, not_json),
        case("reversed-surrogates", br#"{"id": "\udc00\ud800"}"#, not_json),
        case("raw-newline-in-a-text", b"{\"id\": \"a\nb\"}", not_json),
        case("not-a-number", br#"{"id": NaN}"#, not_json),
        case("array", b"[\"x\"]", "$: is an array, not an object"),
        case(
            "array-of-fields",
            br#"["x", "python3.11", "bot", {}, "k", {}, true, true]"#,
            "$: is an array, not an object",
        ),
        case("null", b"null", "$: is null, not an object"),
        case("text", b"\"start\"", "$: is a string, not an object"),
        case("json-in-json", br#""{\"id\": \"x\"}""#, "$: is a JSON string with JSON in it"),
        case("number", b"7", "$: is a number, not an object"),
        case("empty-object", b"{}", "id: is missing, and must be a string"),
        case(
            "celery",
            br#"[[], {"id": "x"}, {"callbacks": null, "errbacks": null, "chain": null}]"#,
            "$: is a task message of Celery",
        ),
        case(
            "cloudevents",
            br#"{"specversion": "1.0", "id": "e", "source": "/", "type": "t", "data": {"id": "x"}}"#,
            "$: is a CloudEvents envelope: the body must be the message itself",
        ),
        case("deep-arrays", &b"[".repeat(100_000), "$: is nested deeper than the 127"),
        case("deep-objects", br#"{"a":"#.repeat(100_000).as_slice(), "a: is nested deeper than"),
    ]
}

/// The message with this text somewhere in the config, valid JSON or not.
fn with_config(id: &str, name: &str, text: &str) -> Vec<u8> {
    let mut message = good(&format!("{id}-{name}"));
    message["config"] = json!({"x": "HERE"});
    message.to_string().replace("\"HERE\"", text).into_bytes()
}

fn nested(id: &str) -> Vec<Message> {
    let case = |name, text: String, reason| Message {
        name,
        body: with_config(id, name, &text),
        reason,
        has_id: true,
    };
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(5000), "}".repeat(5000));
    let zeros = format!("[{}0]", "0,".repeat(1_500_000));
    let objects = format!("[{}{{}}]", r#"{"":{}},"#.repeat(400_000));
    vec![
        case("deep-config", deep, "config: is nested deeper than the 127"),
        case("deep-objects-in-the-config", deep_objects, "config: is nested deeper than the 127"),
        case("number-of-many-digits", "9".repeat(5000), "config: has a number of more than 4300"),
        case("number-beyond-all", "1e999999999".to_owned(), "config: has a number beyond"),
        case("zeros-by-the-million", zeros, "more than the 2097152 allowed"),
        case("objects-by-the-million", objects, "more than the 2097152 allowed"),
        case("ten-megabytes", format!("\"{}\"", "x".repeat(10_000_000)), "bytes, more than"),
    ]
}

fn ids() -> Vec<Message> {
    let case = |name, id: &str, reason| Message {
        name,
        body: good(id).to_string().into_bytes(),
        reason,
        has_id: false,
    };
    let no_id = "is not an id: 1 to 128 characters";
    vec![
        case("id-parent", "../canary", no_id),
        case("id-dots", "..", no_id),
        case("id-empty", "", no_id),
        case("id-slash", "a/b", no_id),
        case("id-backslash", "a\\..\\b", no_id),
        case("id-absolute", "/etc/passwd", no_id),
        case("id-option", "-rf", no_id),
        case("id-newline", "a\nb", no_id),
        case("id-nul", "a\0b", no_id),
        case("id-escape", "\u{1b}[2J", r#"id: "\u{1b}[2J" is not"#),
        case("id-not-ascii", "ä", no_id),
        case("id-wide-digits", "\u{ff11}", no_id),
        case("id-right-to-left", "a\u{202e}b", no_id),
        case("id-shell", "$(touch pwned)", no_id),
        case("id-wildcard", "a.*.#", no_id),
        case("id-too-long", &"x".repeat(129), no_id),
        case("id-a-megabyte", &"x".repeat(1_000_000), no_id),
    ]
}

/// The message with another value of one field.
fn field(id: &str, name: &'static str, field: &str, value: Value, reason: &'static str) -> Message {
    let mut message = good(&format!("{id}-{name}"));
    message[field] = value;
    Message { name, body: message.to_string().into_bytes(), reason, has_id: true }
}

/// A wrong type in every field, and fields that are missing or occur twice.
fn types(id: &str) -> Vec<Message> {
    let with = |name, of, value, reason| field(id, name, of, value, reason);
    let text = |name: &str, change: fn(String) -> String| {
        change(good(&format!("{id}-{name}")).to_string()).into_bytes()
    };
    let mut without = good(&format!("{id}-missing-field"));
    if let Some(fields) = without.as_object_mut() {
        fields.remove("runtime");
    }
    let twice = text("field-twice", |text| text.replacen('{', "{\"runtime\":\"nodejs20\",", 1));
    let id_twice = text("id-twice", |text| text.replacen('{', "{\"id\":\"../x\",", 1));
    let told = |name, body, reason| Message { name, body, reason, has_id: true };
    vec![
        told("missing-field", without.to_string().into_bytes(), "runtime: is missing, and must be"),
        told("field-twice", twice, "runtime: is there twice"),
        told("id-twice", id_twice, "id: \"../x\" is not an id"),
        Message { has_id: false, ..with("id-number", "id", json!(7), "id: must be a string, not") },
        Message {
            has_id: false,
            ..with("id-object", "id", json!({"a": 1}), "id: must be a string")
        },
        with("runtime-list", "runtime", json!(["python3.11"]), "\"python3.11\", not an array"),
        with("runtime-object", "runtime", json!({"python3.11": {"a": 1}}), "not an object"),
        with("runtime-unknown", "runtime", json!("perl5"), "\"binary\", not \"perl5\""),
        with("runtime-number", "runtime", json!(3.11), "\"python3.11\", not a number"),
        with("entrypoint-null", "entrypoint", json!(null), "entrypoint: must be \"bot\" or"),
        with("entrypoint-unknown", "entrypoint", json!("scan"), "entrypoint: must be \"bot\" or"),
        with("network-true", "network", json!(true), "network: must be \"host\", \"bridge\" or"),
        with("files-text", "entrypoint_files", json!("main.py"), "entrypoint_files: must be an"),
        with("files-of-numbers", "entrypoint_files", json!({"backtest": 1}), "must be a string"),
        with("path-list", "file_path", json!(["a.zip"]), "file_path: must be a string, not an"),
        with("config-list", "config", json!([1]), "config: must be an object, not an array"),
        with("config-text", "config", json!("{}"), "config: must be an object, not a string: send"),
        with("flag-text", "is_long_running", json!("false"), "is_long_running: must be true or"),
        with("flag-number", "persist_results", json!(1), "persist_results: must be true or false"),
        with("limits-list", "limits", json!([1, 2, 3]), "limits: must be an object, not an array"),
        with("restart-list", "restart", json!(["always", 3, 1]), "restart: must be an object"),
        with("env-list", "env", json!(["A=b"]), "env: must be an object, not an array"),
        with("env-of-objects", "env", json!({"A": {"b": 1}}), "env.A: must be a string, not an"),
        with("secrets-object", "secrets", json!({"A": 1}), "secrets: must be an array, not an"),
        with("field-without-a-name", "", json!(1), "\"\": is not a field of a start message"),
        with("unknown-field", "colour", json!("red"), "colour: is not a field of a start message"),
        with("prototype", "__proto__", json!({"admin": true}), "__proto__: is not a field of"),
        with(
            "unknown-limit",
            "limits",
            json!({"gpus": 8}),
            "limits.gpus: is not a field of limits",
        ),
        with(
            "field-of-control",
            "\u{1b}]0;x\u{7}",
            json!(1),
            r"\u{1b}]0;x\u{7}: is not a field of",
        ),
        with(
            "privileged",
            "privileged",
            json!(true),
            "privileged: is not a field of a start message",
        ),
        with(
            "field-of-a-megabyte",
            "f".repeat(1_000_000).leak(),
            json!(1),
            "fff…: is not a field of",
        ),
    ]
}

fn texts(id: &str) -> Vec<Message> {
    let with = |name, of, value, reason| field(id, name, of, value, reason);
    let script = |name, script: &str, reason| {
        field(id, name, "entrypoint_files", json!({"backtest": script}), reason)
    };
    let no_path = "is not a relative path inside the archive";
    vec![
        script("script-leaves", "../x.py", no_path),
        script("script-absolute", "/etc/passwd", no_path),
        script("script-empty", "", no_path),
        script("script-dot", ".", no_path),
        script("script-newline", "a\nb.py", no_path),
        script("script-nul", "a\0.py", no_path),
        script("script-too-long", &"s".repeat(2000), no_path),
        with("no-script", "entrypoint_files", json!({"bot": "m.py"}), "has no file for the"),
        with("path-empty", "file_path", json!(""), "file_path: must be 1 to 1,024"),
        script("script-of-windows", "src\\x.py", "has a backslash: separate folders by '/'"),
        with("path-of-a-folder", "file_path", json!("bots/a.zip/"), "ends in '/': it must name a"),
        with(
            "path-of-windows",
            "file_path",
            json!("bots\\a.zip"),
            "file_path: \"bots\\\\a.zip\" has",
        ),
        with("path-leaves", "file_path", json!("../other/code.zip"), "has a '.' or '..' part"),
        with("path-newline", "file_path", json!("a\r\nHost: x"), "file_path: must be"),
        with("path-too-long", "file_path", json!("p".repeat(1025)), "file_path: must be"),
        with("hash-short", "code_sha256", json!("abc"), "code_sha256: is not 64"),
        with("hash-in-capitals", "code_sha256", json!("A".repeat(64)), "code_sha256: is not 64"),
        with("run-leaves", "run_id", json!("../x"), "run_id: \"../x\" is not an id"),
        with("network-of-a-container", "network", json!("container:db"), "network: must be"),
        with("secret-of-nothing", "secrets", json!(["NONE"]), "secrets[0]: is no variable in env"),
        with("secrets-by-the-thousand", "secrets", json!(vec!["A"; 1000]), "more than 100"),
    ]
}

fn environment(id: &str) -> Vec<Message> {
    let with = |name, value, reason| field(id, name, "env", value, reason);
    let many = |count, name: &str| {
        let one = |number| (format!("{name}{number}"), json!("x"));
        Value::Object((0..count).map(one).collect())
    };
    let no_name = "is not the name of an environment variable";
    vec![
        with("env-ours", json!({"ID": "other"}), "env.ID: is set by Longshore itself"),
        with("env-config", json!({"CONFIG_FILE": "/x"}), "env.CONFIG_FILE: is set by Longshore"),
        with(
            "env-shell",
            json!({"BASH_ENV": "/proc/self/environ"}),
            "env.BASH_ENV: is not allowed",
        ),
        with(
            "env-trace",
            json!({"SHELLOPTS": "xtrace", "PS4": "$(id)"}),
            "env.PS4: is not allowed",
        ),
        with("env-loader", json!({"LD_AUDIT": "/x.so"}), "env.LD_AUDIT: is not allowed"),
        with("env-python", json!({"PYTHONINSPECT": "1"}), "env.PYTHONINSPECT: is not allowed"),
        with("env-warnings", json!({"PYTHONWARNINGS": "a::b.c"}), "env.PYTHONWARNINGS: may only"),
        with("env-node", json!({"NODE_OPTIONS": "-r /x"}), "env.NODE_OPTIONS: is not allowed"),
        with("env-equals", json!({"A=B": "x"}), no_name),
        with("env-empty-name", json!({"": "x"}), no_name),
        with("env-space", json!({"A B": "x"}), no_name),
        with("env-newline", json!({"A\nB": "x"}), r"env.A\nB: is not the name"),
        with("env-nul-name", json!({"A\0": "x"}), no_name),
        with("env-shell-function", json!({"BASH_FUNC_x%%": "() { id; }"}), no_name),
        with("env-long-name", json!({"A".repeat(256): "x"}), no_name),
        with("env-nul-value", json!({"A": "x\0y"}), "env.A: has a NUL or is longer than"),
        with("env-huge-value", json!({"A": "x".repeat(200_000)}), "env.A: has a NUL or is longer"),
        with("env-wrong-by-the-hundred", many(900, ""), "env: has more that is wrong than is told"),
        with(
            "env-by-the-thousand",
            many(50_000, "V"),
            "env: has 50000 variables, more than the 1000",
        ),
        with(
            "env-of-a-megabyte",
            json!({"A": "x".repeat(110_000), "B": "x".repeat(110_000), "C": "x".repeat(110_000),
                "D": "x".repeat(110_000), "E": "x".repeat(110_000)}),
            "env: takes 550015 bytes, names included, more than the 524288 allowed",
        ),
    ]
}

fn absurd(id: &str) -> Vec<Message> {
    let with = |name, of, value, reason| field(id, name, of, value, reason);
    let limit = |name, value, reason| field(id, name, "limits", value, reason);
    let most = u64::MAX;
    vec![
        limit("memory-too-much", json!({"memory_mb": most}), "limits.memory_mb: is 18446744"),
        limit("memory-none", json!({"memory_mb": 0}), "limits.memory_mb: is 0, not between"),
        limit("memory-negative", json!({"memory_mb": -1}), "limits.memory_mb: is -1, less than"),
        limit("memory-fraction", json!({"memory_mb": 64.5}), "limits.memory_mb: must be a whole"),
        limit(
            "memory-text",
            json!({"memory_mb": "64"}),
            "limits.memory_mb: must be a whole number",
        ),
        limit("shares-too-many", json!({"cpu_shares": most}), "limits.cpu_shares: is 1844"),
        limit("pids-too-many", json!({"pids": most}), "limits.pids: is 18446744"),
        limit("cpus-none", json!({"cpus": 0}), "limits.cpus: is 0, not between"),
        limit("cpus-negative", json!({"cpus": -1e300}), "limits.cpus: is -1"),
        limit("cpus-by-the-billion", json!({"cpus": 1e300}), "limits.cpus: is 1"),
        with("timeout-none", "timeout_seconds", json!(0), "timeout_seconds: is 0"),
        with("timeout-of-ages", "timeout_seconds", json!(most), "timeout_seconds: is 18446744"),
        with("timeout-beyond", "timeout_seconds", json!(1e30), "timeout_seconds: must be a whole"),
        with("interval-none", "log_interval_seconds", json!(0), "log_interval_seconds: is 0"),
        with("attempts-too-many", "max_attempts", json!(1_000_000), "max_attempts: is 1000000"),
        with("restart-of-a-backtest", "restart", json!({"when": "always"}), "restart: is for"),
    ]
}
