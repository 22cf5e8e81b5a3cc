//! Says what is wrong with a message that is JSON: the path of each wrong field, its value's type,
//! and what is allowed. The published schema says what is allowed.

use serde_json::{Map, Value};

use super::foreign::named;
use super::violation::{MAX_VIOLATIONS, Violation, quoted, violation};
use super::{JobId, RuntimeName};

/// How similar a field's name and a known name must be to count as a misspelling.
const LIKENESS: f64 = 0.85;

/// Everything that is wrong with `message`, in the order of its fields; missing fields come last.
/// `what` says what it should be, such as `a start message`.
pub(super) fn explain(message: &Value, schema: &Value, what: &str) -> Vec<Violation> {
    let mut explaining = Explaining { schema, what, found: Vec::new() };
    explaining.check("", message, schema);
    explaining.found.truncate(MAX_VIOLATIONS);
    explaining.found
}

/// What a runtime must be, as far as the schema knows.
const A_RUNTIME: &str = "the name of a runtime, such as \"python3.11\"";

struct Explaining<'a> {
    schema: &'a Value,
    what: &'a str,
    found: Vec<Violation>,
}

impl<'a> Explaining<'a> {
    fn tell(&mut self, path: &str, problem: impl AsRef<str>) {
        self.found.push(violation(path, problem));
    }

    fn check(&mut self, path: &str, value: &Value, rule: &'a Value) {
        if self.found.len() >= MAX_VIOLATIONS {
            return;
        }
        let rule = Rule::of(self.schema, rule);
        if value.is_null() && rule.may_be_null {
            return;
        }
        if let Some(choices) = rule.choices() {
            return self.check_choice(path, value, &choices);
        }
        match (rule.kind(), value) {
            ("object", Value::Object(fields)) => self.check_fields(path, fields, rule.says),
            ("array", Value::Array(items)) => {
                if let Some(rule) = rule.says.get("items") {
                    for (number, item) in items.iter().enumerate() {
                        self.check(&format!("{path}[{number}]"), item, rule);
                    }
                }
            }
            ("string", Value::String(text)) if rule.is_id => {
                if let Err(problem) = text.parse::<JobId>() {
                    self.tell(path, problem.to_string());
                }
            }
            ("string", Value::String(text)) if rule.is_runtime => {
                if let Err(problem) = text.parse::<RuntimeName>() {
                    self.tell(path, problem.to_string());
                }
            }
            ("integer", Value::Number(number)) => {
                let least = rule.bound("minimum").unwrap_or_default();
                match (number.as_u64(), number.is_i64(), rule.bound("maximum")) {
                    (Some(number), _, Some(most)) if number > most || number < least => {
                        self.tell(path, format!("is {number}, not between {least} and {most}"));
                    }
                    (Some(_), ..) => {}
                    (None, true, _) => {
                        self.tell(path, format!("is {number}, less than the {least} required"));
                    }
                    (None, false, _) => {
                        self.tell(path, "must be a whole number, without a point or an exponent");
                    }
                }
            }
            ("number", Value::Number(_))
            | ("string", Value::String(_))
            | ("boolean", Value::Bool(_))
            | ("", _) => {}
            (_, _) if rule.is_runtime => {
                self.tell(path, format!("must be {A_RUNTIME}, not {}", named(value)));
            }
            (kind, _) => self.tell(path, wrong_kind(kind, value)),
        }
    }

    fn check_choice(&mut self, path: &str, value: &Value, choices: &[&str]) {
        let came = match value {
            Value::String(text) if choices.contains(&text.as_str()) => return,
            Value::String(text) => quoted(text),
            other => named(other).to_owned(),
        };
        let slip = value.as_str().and_then(|text| meant(text, choices));
        let slip = slip.map(|choice| format!("; did you mean {choice:?}?"));
        let allowed = listed(choices.iter().map(|choice| format!("{choice:?}")), "or");
        self.tell(path, format!("must be {allowed}, not {came}{}", slip.unwrap_or_default()));
    }

    fn check_fields(&mut self, path: &str, fields: &Map<String, Value>, rule: &'a Value) {
        let known = rule.get("properties").and_then(Value::as_object);
        let others = rule.get("additionalProperties");
        for (name, value) in fields {
            let below = if path.is_empty() { shown(name) } else { format!("{path}.{name}") };
            let own = known.and_then(|known| known.get(name));
            match own.or(others.filter(|rule| rule.is_object())) {
                Some(rule) => self.check(&below, value, rule),
                None if others == Some(&Value::Bool(false)) => {
                    let problem = self.unknown(path, name, known);
                    self.tell(&below, problem);
                }
                None => {}
            }
            if self.found.len() >= MAX_VIOLATIONS {
                return;
            }
        }
        let required = rule.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                let below =
                    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                let rule = known.and_then(|known| known.get(name));
                let allowed = rule.map(|rule| Rule::of(self.schema, rule).allowed());
                self.tell(&below, format!("is missing, and {}", allowed.unwrap_or_default()));
            }
        }
    }

    fn unknown(&self, path: &str, name: &str, known: Option<&Map<String, Value>>) -> String {
        let names: Vec<_> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let of = if path.is_empty() { self.what } else { path };
        match meant(name, &names) {
            Some(meant) => format!("is not a field of {of}; did you mean {meant:?}?"),
            None => {
                format!("is not a field of {of}, which has {}", listed(names.into_iter(), "and"))
            }
        }
    }
}

/// What the schema says about a value, with references resolved.
struct Rule<'a> {
    says: &'a Value,
    may_be_null: bool,
    is_id: bool,
    is_runtime: bool,
}

impl<'a> Rule<'a> {
    fn of(schema: &'a Value, rule: &'a Value) -> Self {
        let choices = rule.get("anyOf").and_then(Value::as_array);
        let is_null = |one: &&Value| one["type"] == "null";
        let may_be_null = choices.is_some_and(|all| all.iter().any(|one| is_null(&one)))
            || rule["type"].as_array().is_some_and(|types| types.iter().any(|one| one == "null"));
        let rule = choices.and_then(|all| all.iter().find(|one| !is_null(one))).unwrap_or(rule);
        let reference = rule.get("$ref").and_then(Value::as_str);
        let name = reference.and_then(|reference| reference.strip_prefix("#/$defs/"));
        let rule = name.and_then(|name| schema["$defs"].get(name)).unwrap_or(rule);
        let is_id = matches!(name, Some("JobId" | "RunId"));
        Self { says: rule, may_be_null, is_id, is_runtime: name == Some("Runtime") }
    }

    /// The allowed texts, if the schema lists them.
    fn choices(&self) -> Option<Vec<&'a str>> {
        let texts = match (self.says.get("oneOf"), self.says.get("enum")) {
            (Some(all), _) => all.as_array()?.iter().map(|one| one["const"].as_str()).collect(),
            (None, Some(all)) => all.as_array()?.iter().map(Value::as_str).collect(),
            (None, None) => None,
        };
        texts.filter(|texts: &Vec<_>| !texts.is_empty())
    }

    /// The type without null; empty if every type is allowed.
    fn kind(&self) -> &'a str {
        match &self.says["type"] {
            Value::String(kind) => kind,
            Value::Array(kinds) => {
                kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("")
            }
            _ => "",
        }
    }

    fn bound(&self, name: &str) -> Option<u64> {
        self.says.get(name).and_then(Value::as_u64)
    }

    fn allowed(&self) -> String {
        match self.choices() {
            Some(choices) => {
                let choices = choices.into_iter().map(|choice| format!("{choice:?}"));
                format!("must be {}", listed(choices, "or"))
            }
            None if self.is_runtime => format!("must be {A_RUNTIME}"),
            None => format!("must be {}", wanted(self.kind())),
        }
    }
}

/// A type of the schema, in words.
fn wanted(kind: &str) -> &'static str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a string",
        "array" => "an array",
        "object" => "an object",
        _ => "there",
    }
}

/// A complaint about a value's type. It never shows the value, which may be a secret in the wrong
/// place.
fn wrong_kind(kind: &str, value: &Value) -> String {
    let advice = match (kind, value) {
        ("boolean", Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            ": leave out the quotes"
        }
        ("integer" | "number", Value::String(text)) if text.parse::<f64>().is_ok() => {
            ": leave out the quotes"
        }
        ("string", Value::Number(_) | Value::Bool(_)) => ": put it in quotes",
        ("object" | "array", Value::String(text)) if text.trim_start().starts_with(['{', '[']) => {
            ": send it as it is, not as JSON in a string"
        }
        _ => "",
    };
    format!("must be {}, not {}{advice}", wanted(kind), named(value))
}

/// The known name that the author of `name` probably meant.
pub(super) fn meant<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    let likeness = |known: &str| {
        // A long name is no misspelling, and comparing it takes time.
        if name.len() > 2 * known.len() {
            return 0.0;
        }
        strsim::jaro_winkler(&plain(name), &plain(known))
    };
    let scored = known.iter().map(|known| (likeness(known), *known));
    let (score, best) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= LIKENESS).then_some(best)
}

/// `a, b and c`.
pub(super) fn listed(items: impl Iterator<Item = impl AsRef<str>>, last: &str) -> String {
    let items: Vec<_> = items.collect();
    let mut text = String::new();
    for (number, item) in items.iter().enumerate() {
        match number {
            0 => {}
            _ if number + 1 == items.len() => text.extend([" ", last, " "]),
            _ => text.push_str(", "),
        }
        text.push_str(item.as_ref());
    }
    text
}

/// A field's name as a path. An empty name must be visible.
fn shown(name: &str) -> String {
    if name.is_empty() { "\"\"".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
