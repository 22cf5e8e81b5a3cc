//! The schemas in `schemas/` are what the program makes, and the examples are what they say.

mod fields;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use longshore::broker::{Inbox, Topology};
use longshore::job::{
    Bounds, Event, Job, LineStream, LogLines, State, Verdict, parse_executable, parse_stop, schema,
};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn validator(name: &str) -> Validator {
    let named = schema::all().into_iter().find(|one| one.name == name).expect(name);
    let options = jsonschema::options().should_validate_formats(true);
    options.build(named.schema.as_value()).expect("the schema itself should be valid")
}

/// Which schema an example is for, by the first word of its name.
fn schema_of(stem: &str) -> &'static str {
    match stem.split('.').next() {
        Some("start") => "start",
        Some("stop") => "stop",
        Some("log") => "log",
        _ => "event",
    }
}

/// The examples of a directory, by name.
fn examples(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            (stem, std::fs::read(&path).unwrap())
        })
        .collect();
    found.sort();
    assert!(found.len() > 5, "there are hardly any examples in {}", directory.display());
    found
}

/// What our own types make of a message: what they write again, or why they refuse it.
fn parse(schema: &str, body: &[u8]) -> Result<Value, String> {
    match schema {
        "start" => {
            let executable = parse_executable(body).map_err(|error| error.to_string())?;
            let again = serde_json::to_value(&executable).unwrap();
            Job::validate(executable, &Bounds::default(), None)
                .map_err(|error| error.to_string())?;
            Ok(again)
        }
        "stop" => parse_stop(body)
            .map(|stop| serde_json::to_value(stop).unwrap())
            .map_err(|error| error.to_string()),
        "log" => serde_json::from_slice::<LogLines>(body)
            .map(|lines| serde_json::to_value(lines).unwrap())
            .map_err(|error| error.to_string()),
        _ => serde_json::from_slice::<Event>(body)
            .map(|event| serde_json::to_value(event).unwrap())
            .map_err(|error| error.to_string()),
    }
}

#[test]
fn the_files_are_what_the_program_makes() {
    for named in schema::all() {
        let file = std::fs::read_to_string(root().join(named.file)).unwrap_or_default();
        assert!(
            file == named.text(),
            "schemas/{} is not what the types say; fix it with: \
             cargo run -- schema --output-dir schemas",
            named.file
        );
    }
}

#[test]
fn every_example_is_valid_and_means_to_our_types_what_it_says() {
    for (stem, body) in examples(&root().join("examples")) {
        let name = schema_of(&stem);
        let value: Value = serde_json::from_slice(&body).unwrap();
        let problems: Vec<_> =
            validator(name).iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{stem}: {problems:?}");
        let again = parse(name, &body).unwrap_or_else(|problem| panic!("{stem}: {problem}"));
        assert!(validator(name).is_valid(&again), "{stem}: {again:#}");
        for (field, said) in value.as_object().unwrap() {
            let same = field == "time" || &again[field] == said;
            assert!(same, "{stem}: {field} was {said}, and is {} when written again", again[field]);
        }
    }
}

#[test]
fn every_refused_example_is_refused_by_the_schema_and_by_our_types() {
    for (stem, body) in examples(&root().join("examples/refused")) {
        let name = schema_of(&stem);
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert!(!validator(name).is_valid(&value), "{stem}: the schema takes it");
        assert!(parse(name, &body).is_err(), "{stem}: our types take it");
    }
}

#[test]
fn there_is_an_example_of_every_state_and_every_verdict() {
    let events = examples(&root().join("examples"))
        .into_iter()
        .filter_map(|(_, body)| serde_json::from_slice::<Event>(&body).ok());
    let shown: BTreeSet<String> = events
        .map(|event| event.routing_key().as_str().split('.').next().unwrap().to_owned())
        .collect();
    for verdict in Verdict::ALL {
        assert!(shown.contains(verdict.as_str()), "{verdict}");
    }
    for state in State::ALL {
        assert!(shown.contains(state.as_str()), "{}", state.as_str());
    }
}

#[test]
fn a_result_event_without_a_verdict_or_still_running_is_not_valid() {
    let body = std::fs::read(root().join("examples/result.succeeded.json")).unwrap();
    let good: Value = serde_json::from_slice(&body).unwrap();
    let mut without = good.clone();
    without["data"].as_object_mut().unwrap().remove("verdict");
    let mut running = good.clone();
    running["data"]["status"] = "running".into();
    let validator = validator("event");
    assert!(validator.is_valid(&good));
    assert!(!validator.is_valid(&without) && !validator.is_valid(&running));
}

/// Every object that publishers send refuses what it does not know, and every field says what it
/// is.
#[test]
fn received_schemas_are_closed_and_described() {
    for named in schema::all().into_iter().filter(|one| one.name != "event") {
        let schema = named.schema.as_value();
        assert!(schema["$id"].as_str().unwrap().starts_with("urn:longshore:schema:"));
        let definitions = schema["$defs"].as_object().unwrap().values();
        for object in definitions.chain([schema]).filter(|one| one["type"] == "object") {
            assert_eq!(object["additionalProperties"], false, "{object:#}");
            for (field, described) in object["properties"].as_object().unwrap() {
                assert!(described["description"].is_string(), "{}: {field}", named.name);
            }
        }
    }
}

fn asyncapi() -> Value {
    let text = std::fs::read_to_string(root().join("asyncapi.yaml")).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_asyncapi_leads_somewhere() {
    let document = asyncapi();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => assert!(root().join(reference).is_file(), "{reference}"),
        }
    }
    for named in schema::all() {
        assert!(found.contains(&format!("./{}", named.file)), "{} is not used", named.file);
    }
}

#[test]
fn asyncapi_lists_every_state_and_every_verdict() {
    let document = asyncapi();
    let listed = |channel: &str, word: &str| {
        let pointer = format!("/channels/{channel}/parameters/{word}/enum");
        let words = document.pointer(&pointer).expect("a list of words").clone();
        serde_json::from_value::<Vec<String>>(words).unwrap()
    };
    assert_eq!(listed("status", "state"), State::ALL.map(|one| one.as_str().to_owned()));
    assert_eq!(listed("logs", "stream"), LineStream::ALL.map(|one| one.as_str().to_owned()));
    assert_eq!(listed("results", "verdict"), Verdict::ALL.map(|one| one.as_str().to_owned()));
}

#[test]
fn asyncapi_names_what_the_broker_knows() {
    let document = asyncapi();
    let topology = Topology::new("longshore", &[]);
    let text = |pointer: &str| {
        document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let inboxes = [
        ("startTerminating", Inbox::StartTerminating),
        ("startLongRunning", Inbox::StartLongRunning),
        ("stop", Inbox::Stop),
    ];
    for (channel, inbox) in inboxes {
        let channel = format!("/channels/{channel}");
        assert_eq!(text(&format!("{channel}/address")), inbox.routing_key());
        assert_eq!(text(&format!("{channel}/x-queue")), topology.inbox(inbox));
        let exchange = text(&format!("{channel}/bindings/amqp/exchange/name"));
        assert_eq!(exchange, topology.jobs_exchange());
    }
    for (channel, exchange) in [
        ("status", topology.status_exchange()),
        ("results", topology.results_exchange()),
        ("logs", topology.logs_exchange()),
        ("listeners", topology.listeners_exchange()),
    ] {
        assert_eq!(text(&format!("/channels/{channel}/bindings/amqp/exchange/name")), exchange);
    }
    assert_eq!(inboxes.map(|(_, inbox)| inbox), Inbox::SHARED);
}

/// Which variables are refused is said once, in the program.
#[test]
fn the_schema_refuses_the_variables_that_a_worker_refuses() {
    let body = std::fs::read(root().join("examples/start.backtest.json")).unwrap();
    for (name, value, is_allowed) in [
        ("TZ", "UTC", true),
        ("PATH", "/bin", true),
        ("PYTHONHASHSEED", "0", true),
        ("PYTHONWARNINGS", "ignore", true),
        ("ID", "other", false),
        ("LD_PRELOAD", "/x.so", false),
        ("BASH_ENV", "/proc/self/environ", false),
        ("PS4", "$(id)", false),
        ("PYTHONPATH", "/x", false),
        ("PYTHONWARNINGS", "all:0:antigravity.x:0:0", false),
        ("NODE_OPTIONS", "--require /x", false),
    ] {
        let mut message: Value = serde_json::from_slice(&body).unwrap();
        message["env"] = serde_json::json!({ name: value });
        assert_eq!(validator("start").is_valid(&message), is_allowed, "the schema: {name}={value}");
        let executable = parse_executable(message.to_string().as_bytes()).unwrap();
        let judged = Job::validate(executable, &Bounds::default(), None);
        assert_eq!(judged.is_ok(), is_allowed, "a worker: {name}={value}: {judged:?}");
    }
}

/// What the examples say is what the schema says.
#[test]
fn the_start_messages_beside_the_example_programs_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path().join("start.json");
        if let Ok(body) = std::fs::read(&path) {
            let value: Value = serde_json::from_slice(&body).unwrap();
            assert!(validator("start").is_valid(&value), "{}", path.display());
            parse("start", &body).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            found += 1;
        }
    }
    assert!(found > 0, "there is no start.json below examples/");
}
