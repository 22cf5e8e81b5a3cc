//! Every field that publishers send is shown, has bounds, and a worker checks each of them.

use std::collections::BTreeSet;

use longshore::job::schema;
use serde_json::{Value, json};

use super::{parse, root, validator};

/// The messages that show every field, by schema.
const WITH_ALL_FIELDS: [(&str, &str); 7] = [
    ("start", "start.backtest-all-fields"),
    ("start", "start.bot-all-fields"),
    ("start", "start.sweep-grid"),
    ("start", "start.sweep-configs"),
    ("start", "start.sweep-sample"),
    ("start", "start.sweep-object"),
    ("stop", "stop.all-fields"),
];

/// Fields without an upper bound in the schema: a setting of the worker, or a sum over the list, bounds them.
const BOUNDED_BY_THE_WORKER: [&str; 9] = [
    "/timeout_seconds",
    "/limits/memory_mb",
    "/limits/cpu_shares",
    "/limits/cpus",
    "/limits/pids",
    "/health_check/command/0",
    "/artifacts/max_mb",
    "/artifacts/max_files",
    "/state/max_kb",
];

fn example(stem: &str) -> Value {
    let path = root().join("examples").join(format!("{stem}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// One field: where it is in a message, and one of the schemas that hold for it.
struct Field {
    pointer: String,
    schema: Value,
}

/// The fields of a schema, those of objects within objects and the items of lists included.
fn fields(name: &str) -> Vec<Field> {
    let named = schema::all().into_iter().find(|one| one.name == name).unwrap();
    let schema = named.schema.as_value();
    let mut found = Vec::new();
    collect(schema, schema, "", &mut found);
    assert!(found.len() >= 4, "there are hardly any fields in {name}");
    found
}

fn collect(root: &Value, schema: &Value, pointer: &str, found: &mut Vec<Field>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = root.pointer(reference.trim_start_matches('#')).unwrap();
        collect(root, definition, pointer, found);
    }
    for one in schema["anyOf"].as_array().into_iter().flatten() {
        collect(root, one, pointer, found);
    }
    // What names go into a map is the publisher's business.
    if schema["additionalProperties"] == false {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            collect(root, property, &format!("{pointer}/{name}"), found);
        }
    }
    if schema["items"].is_object() {
        collect(root, &schema["items"], &format!("{pointer}/0"), found);
    }
    if !pointer.is_empty() && schema["$ref"].is_null() && schema["anyOf"].is_null() {
        found.push(Field { pointer: pointer.to_owned(), schema: schema.clone() });
    }
}

impl Field {
    fn is_of_type(&self, name: &str) -> bool {
        let kind = &self.schema["type"];
        kind == name || kind.as_array().is_some_and(|kinds| kinds.contains(&json!(name)))
    }

    fn has(&self, keyword: &str) -> bool {
        !self.schema[keyword].is_null()
    }

    fn is_bounded(&self) -> bool {
        let number = self.is_of_type("integer") || self.is_of_type("number");
        let is_choice = self.has("oneOf") || self.has("enum") || self.has("const");
        (!number || self.has("maximum"))
            && (!self.is_of_type("string")
                || is_choice
                || self.has("maxLength")
                || self.has("pattern"))
            && (!self.is_of_type("array") || self.has("maxItems"))
    }

    /// Values that break one bound each, made from a good value.
    fn bad_values(&self, good: &Value) -> Vec<Value> {
        let schema = &self.schema;
        let size = |keyword: &str| schema[keyword].as_u64().and_then(|n| usize::try_from(n).ok());
        let item = good.get(0).cloned().unwrap_or_default();
        let next = |number: &Value, step: i64| match number.as_i64() {
            Some(whole) => json!(whole + step),
            None => {
                json!(number.as_f64().unwrap() + 0.001 * f64::from(i8::try_from(step).unwrap()))
            }
        };
        let object = |size| (0..size).map(|n| (format!("V{n}"), json!("x"))).collect::<Value>();
        let limits = [
            size("minLength").filter(|least| *least > 0).map(|least| json!("a".repeat(least - 1))),
            size("maxLength").map(|most| json!("a".repeat(most + 1))),
            size("minItems").filter(|least| *least > 0).map(|least| json!(vec![&item; least - 1])),
            size("maxItems").map(|most| json!(vec![&item; most + 1])),
            size("maxProperties").map(|most| object(most + 1)),
            // The negative of an unsigned number is refused as such.
            self.has("minimum").then(|| next(&schema["minimum"], -1)),
            self.has("maximum").then(|| next(&schema["maximum"], 1)),
            self.has("pattern").then(|| json!("\u{1}\\")),
        ];
        limits.into_iter().flatten().collect()
    }
}

#[test]
fn every_field_is_in_an_example_with_all_fields() {
    for name in ["start", "stop"] {
        let examples = WITH_ALL_FIELDS.iter().filter(|(schema, _)| *schema == name);
        let examples: Vec<_> = examples.map(|(_, stem)| example(stem)).collect();
        for field in fields(name) {
            let shown = examples.iter().any(|example| example.pointer(&field.pointer).is_some());
            assert!(shown, "no {name}.*all-fields.json in schemas/examples has {}", field.pointer);
        }
    }
}

#[test]
fn every_field_has_an_upper_bound() {
    for field in fields("start").into_iter().chain(fields("stop")) {
        let elsewhere = BOUNDED_BY_THE_WORKER.contains(&field.pointer.as_str());
        assert!(field.is_bounded() || elsewhere, "{} has no bound", field.pointer);
    }
}

#[test]
fn a_worker_checks_every_bound_of_the_schema() {
    let mut tried = BTreeSet::new();
    for (name, stem) in WITH_ALL_FIELDS {
        let good = example(stem);
        for field in fields(name) {
            let Some(value) = good.pointer(&field.pointer) else { continue };
            for bad in field.bad_values(value) {
                let mut message = good.clone();
                *message.pointer_mut(&field.pointer).unwrap() = bad.clone();
                let said = format!("{stem}: {} = {:.80}", field.pointer, bad.to_string());
                assert!(!validator(name).is_valid(&message), "the schema takes {said}");
                let Err(refusal) = parse(name, message.to_string().as_bytes()) else {
                    panic!("a worker takes {said}");
                };
                let top = field.pointer.split('/').nth(1).unwrap();
                assert!(refusal.contains(top), "{said}: {refusal}");
                tried.insert(field.pointer.clone());
            }
        }
    }
    assert!(tried.len() >= 20, "only {tried:?} have bounds");
}
