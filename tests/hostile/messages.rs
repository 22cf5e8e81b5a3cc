//! Start messages that must be refused, each with a part of what is said about it.

use serde_json::{Value, json};

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    pub(crate) body: Vec<u8>,
    /// A part of what is said about it.
    pub(crate) reason: &'static str,
    /// Whether its id can be read.
    pub(crate) has_id: bool,
}

/// A message that would be followed.
pub(crate) fn good(id: &str) -> Value {
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
pub(crate) fn all(id: &str) -> Vec<Message> {
    [broken(), nested(id), ids(), types(id), texts(id), environment(id), absurd(id)].concat()
}

/// A message that is not even an object, or not JSON.
fn broken() -> Vec<Message> {
    let case =
        |name, body: &[u8], reason| Message { name, body: body.into(), reason, has_id: false };
    let not_json = "is not valid JSON";
    vec![
        case("empty", b"", not_json),
        case("spaces", &[b' '; 1000], not_json),
        case("nul-bytes", &[0; 100], not_json),
        case("torn", b"{\"id\": \"x\", ", not_json),
        case("not-utf-8", b"{\"id\": \"\xff\xfe\"}", not_json),
        case("utf-16", b"\xff\xfe{\0}\0", not_json),
        case("byte-order-mark", b"\xef\xbb\xbf{}", not_json),
        case("overlong-slash", b"{\"id\": \"\xc0\xaf\"}", not_json),
        case("xml", b"<job id='x'/>", not_json),
        case("pickle", b"\x80\x04\x95\x10\x00\x00\x00cposix\nsystem\n.", not_json),
        case("yaml", b"id: x\nruntime: python3.11\n", not_json),
        case("two-objects", b"{\"id\": \"x\"} {}", "missing field"),
        case("single-quotes", b"{'id': 'x'}", not_json),
        case("comment", b"{/* */\"id\": \"x\"}", not_json),
        case("lone-surrogate", br#"{"id": "\ud800"}"#, not_json),
        case("reversed-surrogates", br#"{"id": "\udc00\ud800"}"#, not_json),
        case("raw-newline-in-a-text", b"{\"id\": \"a\nb\"}", not_json),
        case("not-a-number", br#"{"id": NaN}"#, not_json),
        case("array", b"[\"x\"]", "$: is not a JSON object"),
        case(
            "array-of-fields",
            br#"["x", "python3.11", "bot", {}, "k", {}, true, true]"#,
            "$: is not",
        ),
        case("null", b"null", "$: invalid type"),
        case("text", b"\"start\"", "$: invalid type"),
        case("number", b"7", "$: invalid type"),
        case("empty-object", b"{}", "missing field `id`"),
        case("deep-arrays", &b"[".repeat(100_000), "$: is not a JSON object"),
        case("deep-objects", br#"{"a":"#.repeat(100_000).as_slice(), "a: unknown field"),
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
        case("deep-config", deep, "recursion limit"),
        case("deep-objects-in-the-config", deep_objects, "recursion limit"),
        case("number-of-many-digits", "9".repeat(5000), "number out of range"),
        case("number-beyond-all", "1e999999999".to_owned(), "number out of range"),
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

/// A wrong type everywhere, and fields that are not there or there twice.
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
        told("missing-field", without.to_string().into_bytes(), "missing field `runtime`"),
        told("field-twice", twice, "duplicate field `runtime`"),
        told("id-twice", id_twice, "id: \"../x\" is not an id"),
        Message { has_id: false, ..with("id-number", "id", json!(7), "id: invalid type") },
        Message { has_id: false, ..with("id-object", "id", json!({"a": 1}), "id: invalid type") },
        with("runtime-list", "runtime", json!(["python3.11"]), "runtime: "),
        with("runtime-object", "runtime", json!({"python3.11": {"a": 1}}), "runtime"),
        with("runtime-unknown", "runtime", json!("perl5"), "runtime: unknown variant `perl5`"),
        with("entrypoint-null", "entrypoint", json!(null), "entrypoint: "),
        with("entrypoint-unknown", "entrypoint", json!("scan"), "entrypoint: unknown variant"),
        with("files-text", "entrypoint_files", json!("main.py"), "entrypoint_files: invalid type"),
        with("files-of-numbers", "entrypoint_files", json!({"backtest": 1}), "invalid type"),
        with("path-list", "file_path", json!(["a.zip"]), "file_path: invalid type"),
        with("config-list", "config", json!([1]), "config: invalid type"),
        with("config-text", "config", json!("{}"), "config: invalid type"),
        with("flag-text", "is_long_running", json!("false"), "is_long_running: invalid type"),
        with("flag-number", "persist_results", json!(1), "persist_results: invalid type"),
        with("limits-list", "limits", json!([1, 2, 3]), "limits: invalid type: sequence"),
        with("restart-list", "restart", json!(["always", 3, 1]), "restart: invalid type"),
        with("env-list", "env", json!(["A=b"]), "env: invalid type"),
        with("env-of-objects", "env", json!({"A": {"b": 1}}), "env.A: invalid type"),
        with("secrets-object", "secrets", json!({"A": 1}), "secrets: invalid type"),
        with("field-without-a-name", "", json!(1), "$: unknown field ``"),
        with("unknown-field", "colour", json!("red"), "colour: unknown field `colour`"),
        with("prototype", "__proto__", json!({"admin": true}), "unknown field `__proto__`"),
        with("unknown-limit", "limits", json!({"gpus": 8}), "limits.gpus: unknown field"),
        with("field-of-control", "\u{1b}]0;x\u{7}", json!(1), r"\u{1b}]0;x\u{7}: unknown field"),
        with("privileged", "privileged", json!(true), "privileged: unknown field"),
        with("field-of-a-megabyte", "f".repeat(1_000_000).leak(), json!(1), "unknown field `fff"),
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
        with("path-leaves", "file_path", json!("../other/code.zip"), "has a '.' or '..' part"),
        with("path-newline", "file_path", json!("a\r\nHost: x"), "file_path: must be"),
        with("path-too-long", "file_path", json!("p".repeat(1025)), "file_path: must be"),
        with("hash-short", "code_sha256", json!("abc"), "code_sha256: is not 64"),
        with("hash-in-capitals", "code_sha256", json!("A".repeat(64)), "code_sha256: is not 64"),
        with("run-leaves", "run_id", json!("../x"), "run_id: \"../x\" is not an id"),
        with("network-of-a-container", "network", json!("container:db"), "network: unknown"),
        with("secret-of-nothing", "secrets", json!(["NONE"]), "secrets[0]: is no variable in env"),
        with("secrets-by-the-thousand", "secrets", json!(vec!["A"; 1000]), "more than 100"),
    ]
}

fn environment(id: &str) -> Vec<Message> {
    let with = |name, value, reason| field(id, name, "env", value, reason);
    let many: serde_json::Map<_, _> =
        (0..50_000).map(|number| (format!("{number}"), json!("x"))).collect();
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
        with(
            "env-by-the-thousand",
            Value::Object(many),
            "env: has more that is wrong than is told",
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
        limit("memory-negative", json!({"memory_mb": -1}), "limits.memory_mb: invalid value"),
        limit("memory-fraction", json!({"memory_mb": 64.5}), "limits.memory_mb: invalid type"),
        limit("memory-text", json!({"memory_mb": "64"}), "limits.memory_mb: invalid type"),
        limit("shares-too-many", json!({"cpu_shares": most}), "limits.cpu_shares: is 1844"),
        limit("pids-too-many", json!({"pids": most}), "limits.pids: is 18446744"),
        limit("cpus-none", json!({"cpus": 0}), "limits.cpus: is 0, not between"),
        limit("cpus-negative", json!({"cpus": -1e300}), "limits.cpus: is -1"),
        limit("cpus-by-the-billion", json!({"cpus": 1e300}), "limits.cpus: is 1"),
        with("timeout-none", "timeout_seconds", json!(0), "timeout_seconds: is 0"),
        with("timeout-of-ages", "timeout_seconds", json!(most), "timeout_seconds: is 18446744"),
        with("timeout-beyond", "timeout_seconds", json!(1e30), "timeout_seconds: invalid type"),
        with("interval-none", "log_interval_seconds", json!(0), "log_interval_seconds: is 0"),
        with("attempts-too-many", "max_attempts", json!(1_000_000), "max_attempts: is 1000000"),
        with("restart-of-a-backtest", "restart", json!({"when": "always"}), "restart: is for"),
    ]
}
