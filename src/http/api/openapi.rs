//! The description of the API, made from the types of its answers.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::root::ROOT;
use super::{changes, error, live, reads, results};
use crate::facts::{DeadReport, QueuesReport, SegmentReport, SeriesList, StoryReport};
use crate::job::Executable;

/// Where the schemas of types are in the document.
const SCHEMAS: &str = "/components/schemas";

type Type = fn(&mut SchemaGenerator) -> Schema;

/// What a request sends, and what its answer has.
enum Answer {
    Json(Type),
    /// Whatever a program returned, or a file.
    Any(&'static str),
}

struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: Option<Type>,
    body: Option<Type>,
    answer: Answer,
    status: &'static str,
    /// What is sent as server-sent events.
    live: Option<&'static str>,
}

const fn read(path: &'static str, summary: &'static str, answer: Answer) -> Operation {
    let (method, status) = ("get", "200");
    Operation { method, path, summary, query: None, body: None, answer, status, live: None }
}

const fn change(
    path: &'static str,
    summary: &'static str,
    body: Type,
    (status, answer): (&'static str, Type),
) -> Operation {
    let (method, answer) = ("post", Answer::Json(answer));
    Operation { method, path, summary, query: None, body: Some(body), answer, status, live: None }
}

impl Operation {
    const fn with(mut self, query: Type) -> Self {
        self.query = Some(query);
        self
    }

    const fn live(mut self, events: &'static str) -> Self {
        self.live = Some(events);
        self
    }
}

fn of<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const OPERATIONS: &[Operation] = &[
    read("/workers", "The workers that are connected", Answer::Json(of::<reads::WorkerList>)),
    read("/segments", "The segments and their owners", Answer::Json(of::<Vec<SegmentReport>>)),
    read("/queues", "What waits in the queues, and why", Answer::Json(of::<QueuesReport>)),
    read("/jobs", "The jobs of the journal, the newest first", Answer::Json(of::<reads::JobList>))
        .with(of::<reads::Wanted>),
    read("/jobs/{id}", "All about one job, and why it does not run", Answer::Json(of::<StoryReport>)),
    read("/jobs/{id}/logs", "The last lines of a job's log, or its log as it is written", Answer::Json(of::<live::Log>))
        .with(of::<live::Lines>)
        .live("`line` has a line of the log. `note` has a sentence about the log. `end` comes once the run has ended, `error` if the log cannot go on; each has a sentence."),
    read("/jobs/{id}/events", "The status and result events of a job, as they come", Answer::Any("text/event-stream"))
        .live("`event` has an event as it is published. `note` says that events may have been missed."),
    read("/jobs/{id}/result", "What the code of a run returned", Answer::Any("application/json"))
        .with(of::<results::Which>),
    read("/jobs/{id}/series", "What the program of a run measured, at most 500 points of each series", Answer::Json(of::<SeriesList>))
        .with(of::<results::Which>),
    read("/jobs/{id}/artifacts/{path}", "A file that a run left", Answer::Any("application/octet-stream"))
        .with(of::<results::Which>),
    read("/dead", "The dead letters, the oldest first", Answer::Json(of::<reads::Dead>))
        .with(of::<reads::HowMany>),
    read("/dead/{key}", "One dead letter, secrets included", Answer::Json(of::<DeadReport>)),
    read("/openapi.json", "This description", Answer::Any("application/json")),
    change("/jobs", "Start a job", of::<Executable>, ("202", of::<changes::Started>)),
    change("/jobs/{id}/stop", "Stop a job", of::<changes::Stop>, ("202", of::<changes::Stopping>)),
    change("/dead/replay", "Publish dead letters again", of::<changes::Replay>, ("200", of::<changes::ReplayedLetters>)),
    change("/dead/purge", "Remove dead letters for good", of::<changes::Purge>, ("200", of::<changes::Purged>)),
];

/// The description as OpenAPI 3.1.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = SCHEMAS.into());
    let mut sent = settings.clone().into_generator();
    let mut told = settings.for_serialize().into_generator();
    let failure = json!({
        "description": "The request is wrong, or there is no answer: one sentence says why.",
        "content": { "application/json": { "schema": of::<error::ErrorBody>(&mut told) } },
    });
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let mut parameters = in_path(operation.path);
        parameters.extend(operation.query.map(in_query).unwrap_or_default());
        let (kind, schema) = match operation.answer {
            Answer::Json(answer) => ("application/json", json!(answer(&mut told))),
            Answer::Any(kind) => (kind, json!(true)),
        };
        let mut content = json!({ kind: { "schema": schema } });
        if let Some(events) = operation.live {
            content["text/event-stream"] =
                json!({ "schema": { "type": "string", "description": events } });
        }
        let mut described = json!({
            "summary": operation.summary,
            "parameters": parameters,
            "responses": {
                operation.status: { "description": operation.summary, "content": content },
                "default": failure,
            },
        });
        if let Some(body) = operation.body {
            let content = json!({ "application/json": { "schema": body(&mut sent) } });
            described["requestBody"] = json!({ "required": true, "content": content });
        }
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    let mut schemas = told.take_definitions(false);
    for (name, schema) in sent.take_definitions(false) {
        schemas.entry(name).or_insert(schema);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Longshore",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Workers, jobs, queues and dead letters of one namespace. Texts in answers \
                            may be strangers': show them as text, never as markup.",
        },
        "servers": [{ "url": ROOT }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": {
                "type": "http", "scheme": "bearer", "description": "HTTP_TOKEN",
            } },
        },
    })
}

/// The parameters that a path names.
fn in_path(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let one = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    names.map(one).collect()
}

/// The fields of a type as parameters.
fn in_query(query: Type) -> Vec<Value> {
    let inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = query(&mut inline.into_generator());
    let fields = schema.get("properties").and_then(Value::as_object);
    let one = |(name, schema): (&String, &Value)| json!({ "name": name, "in": "query", "required": false, "schema": schema });
    fields.into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let source = include_str!("mod.rs");
        let routes = source.split(".route(\"").skip(1);
        let mut routes: Vec<_> = routes
            .map(|rest| rest.split('"').next().unwrap_or_default().replace("{*", "{"))
            .collect();
        routes.sort();
        let document = document();
        let mut paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        paths.sort();
        assert_eq!(routes, paths);
        assert!(document["paths"]["/jobs"]["get"].is_object());
        assert!(document["paths"]["/jobs"]["post"].is_object());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let mut seen = 0;
        for rest in text.split("\"$ref\":\"#").skip(1) {
            let pointer = rest.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }
}
