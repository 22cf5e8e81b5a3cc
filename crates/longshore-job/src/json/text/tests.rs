use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    #[serde(deserialize_with = "object")]
    config: JsonText,
}

/// The config after it was read from a message and written into the next one.
fn through(config: &str) -> Result<String, String> {
    let body = format!(r#"{{"config": {config}}}"#);
    let mut reader = serde_json::Deserializer::from_slice(body.as_bytes());
    let message: Message =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| error.to_string())?;
    let wire = serde_json::to_string(&message).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&wire).unwrap(), message);
    Ok(message.config.as_str().to_owned())
}

#[test]
fn every_digit_and_the_order_of_keys_stay() {
    let integer = "9".repeat(400);
    for number in [
        "123456789012345678901",
        "-123456789012345678901234567890",
        "0.1000000000000000055511151231257827021181583404541015625",
        "1.0",
        "1E+2",
        "1e-400",
        "-0",
        "-0.0",
        "100000000000000000000000",
        integer.as_str(),
    ] {
        let config = format!(r#"{{"zeta":1,"n":{number},"alpha":[{number}]}}"#);
        assert_eq!(through(&config).unwrap(), config);
    }
}

#[test]
fn spaces_and_needless_escapes_are_all_that_goes() {
    let written = "{ \"b\" : [ 1 , { } ] ,\r\n\t\"\\u0061\\/\" : \"\\u00e9\\n\\u001b\" }";
    assert_eq!(through(written).unwrap(), "{\"b\":[1,{}],\"a/\":\"é\\n\\u001b\"}");
}

#[test]
fn what_looks_like_a_parsers_own_mark_is_an_object_like_any_other() {
    for token in ["$serde_json::private::Number", "$serde_json::private::RawValue"] {
        let config = format!(r#"{{"x":{{"{token}":"[1]"}}}}"#);
        assert_eq!(through(&config).unwrap(), config);
    }
}

#[test]
fn what_others_could_not_read_is_refused_with_its_reason() {
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(through(&deep(MAX_EMBEDDED_DEPTH - 1)).is_ok());
    for (config, reason) in [
        (deep(MAX_EMBEDDED_DEPTH), "config: is nested more than 100 levels deep"),
        (deep(1_000_000), "config: is nested more than 100 levels deep"),
        ("{\"a\":1e400}".to_owned(), "config: has a number beyond"),
        ("{\"a\":-1.5E+999999999}".to_owned(), "config: has a number beyond"),
        (format!("{{\"a\":{}}}", "9".repeat(4301)), "config: has a number of more than 4300"),
        ("{\"a\":\"\\ud800\"}".to_owned(), "config: is not valid JSON"),
        ("{\"a\":NaN}".to_owned(), "expected"),
        ("[1]".to_owned(), "config: invalid type: sequence, expected a map"),
        ("\"x\"".to_owned(), "config: invalid type: string, expected a map"),
        ("7".to_owned(), "config: invalid type: number, expected a map"),
        ("null".to_owned(), "config: invalid type: "),
    ] {
        let said = through(&config).unwrap_err();
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn nothing_of_it_is_shown_when_it_is_debugged() {
    let text: JsonText = r#"{"key":"hunter22"}"#.parse().unwrap();
    assert_eq!(format!("{text:?}"), "JsonText(18 bytes)");
    assert_eq!(text.keys(), ["key"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| json!(x)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_written_by_another_is_read_as_the_same(value in any_json()) {
        let text = JsonText::read(serde_json::to_string_pretty(&value).unwrap().as_bytes()).unwrap();
        prop_assert_eq!(text.as_str(), value.to_string());
    }

    #[test]
    fn what_one_reader_takes_the_other_takes(text in "[\\[\\]{}\",:0-9.eE+\\- \\\\utrfalsn]{0,24}") {
        let by_another = serde_json::from_str::<&RawValue>(&text).is_ok();
        match JsonText::read(text.as_bytes()) {
            Ok(read) => {
                prop_assert!(by_another, "{}", text);
                prop_assert_eq!(JsonText::read(read.as_str().as_bytes()).unwrap(), read);
            }
            Err(JsonProblem::Syntax(why)) => {
                prop_assert!(!by_another || why.contains("surrogate"), "{}: {}", text, why);
            }
            Err(_) => {}
        }
    }
}
