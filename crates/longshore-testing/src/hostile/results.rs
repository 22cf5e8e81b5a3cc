//! What a container may leave behind: a result, an exit note, or output with a secret. These are
//! seeds for the fuzz target.

/// A name, and the bytes.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let own = |text: &str| text.as_bytes().to_vec();
    vec![
        ("nothing", Vec::new()),
        ("result", own(r#"{"sharpe": 1.2, "trades": [1, 2.5, -3e-7]}"#)),
        ("message", own(r#"{"status": "success", "message": "done"}"#)),
        ("error", own(r#"{"status": "error", "message": "ValueError: x"}"#)),
        ("terminated", own(r#"{"status": "terminated", "message": "by signal"}"#)),
        ("long-message", format!(r#"{{"message": "{}"}}"#, "ä".repeat(1200)).into_bytes()),
        ("control-in-message", own(r#"{"status": "error", "message": "\u001b[2J\u0000\n"}"#)),
        ("message-of-numbers", own(r#"{"status": 1, "message": {"a": []}}"#)),
        ("null", own("null")),
        ("text", own(r#""just text""#)),
        ("list", own("[[], {}, [[]]]")),
        ("not-a-number", own("NaN")),
        ("infinity", own(r#"{"x": -Infinity}"#)),
        ("torn", own(r#"{"x": ["#)),
        ("two", own("{} {}")),
        ("deep", ["[".repeat(100), "]".repeat(100)].concat().into_bytes()),
        ("too-deep", ["[".repeat(127), "]".repeat(127)].concat().into_bytes()),
        ("numbers-that-grow", format!("[{}1e15]", "1e15,".repeat(200)).into_bytes()),
        ("numbers-at-the-edge", own("[1e308, -0, 18446744073709551616, 5e-324, 1e400]")),
        (
            "digits",
            own(r#"{"zeta": 123456789012345678901, "wei": [1.50, 1E400, -0.0], "alpha": 1e-400}"#),
        ),
        (
            "secret-in-escapes",
            own(
                r#"{"\u0068unter22": "x hunter\u00322", "log": "{\"k\": \"h\\u0075nter22\"}", "u": "s+p%2F%2541%26"}"#,
            ),
        ),
        ("secret-in-numbers", own(r#"[1234567, 1.234567e6, 12345670, {"1234567": 1234568}]"#)),
        ("secret-across", own(r#"["a\"b", "\\c", "hunter", 22]"#)),
        ("byte-order-mark", own("\u{feff}{\"a\": 1}")),
        ("surrogates", own(r#"{"message": "\ud83d\udd11 \ud800"}"#)),
        ("twice", own(r#"{"status": "error", "status": "success"}"#)),
        (
            "account-of-1",
            own("cpuacct/cpuacct.usage 39535267\nmemory/memory.max_usage_in_bytes 5\n"),
        ),
        ("account-of-2", own("cpu.stat usage_usec 1500000\nmemory.peak 5000000\n")),
        ("account-too-large", own("cpu.stat usage_usec 18446744073709551615\nmemory.peak -1\n")),
        ("secret", own("hunter22\nthe key is hunter22, or hunter2 2 and hunterhunter22\n")),
        ("secret-in-json", own("a\"b\\c\n{\"key\": \"a\\\"b\\\\c\"} and a\"b\\c\n")),
        ("secret-that-repeats", own("abab\nabababababab\n")),
    ]
}
