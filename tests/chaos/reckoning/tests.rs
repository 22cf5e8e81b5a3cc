use std::collections::BTreeMap;

use longshore::job::RunId;
use serde_json::{Value, json};

use super::{Line, reckon, table};
use crate::evidence::{Evidence, Stamp, Ticket};
use crate::plan::{Extra, Language, PlannedJob, Stop, Work};
use longshore_testing::events::Seen;

fn ticket(id: &str, work: Work) -> Ticket {
    Ticket {
        job: PlannedJob {
            language: Language::Python,
            work,
            stop: Stop::Never,
            extra: Extra::Nothing,
            follows: None,
        },
        id: id.to_owned(),
        message_id: format!("message-{id}"),
        token: format!("token-{id}"),
    }
}

/// A result of the run that the ticket of the job is about.
fn result(event: &str, id: &str, data: &Value) -> Seen {
    let run = RunId::derived(&id.parse().unwrap(), &format!("message-{id}"));
    let mut data = data.clone();
    data["run_id"] = run.as_str().into();
    Seen {
        text: String::new(),
        exchange: "results".to_owned(),
        routing_key: "any".to_owned(),
        message_id: None,
        content_type: None,
        delivery_mode: None,
        event: json!({ "id": event, "subject": id, "data": data }),
    }
}

fn success(event: &str, id: &str) -> Seen {
    let returned = json!({ "id": id, "token": format!("token-{id}") });
    result(event, id, &json!({ "verdict": "succeeded", "result": returned }))
}

fn bad(lines: &[Line]) -> Vec<&str> {
    lines.iter().filter(|line| !line.is_good()).map(|line| line.what.as_str()).collect()
}

fn stamp(nonce: &str, number: u64, at_ms: i64) -> Stamp {
    Stamp { nonce: nonce.to_owned(), number, at_ms, count: None }
}

#[test]
fn one_result_for_each_start_is_good_also_where_it_came_twice() {
    let tickets = [ticket("a", Work::Returns), ticket("b", Work::Fails)];
    let failure = json!({ "verdict": "failed", "exit_code": 3 });
    let results = vec![success("1", "a"), success("1", "a"), result("2", "b", &failure)];
    let lines = reckon(&tickets, &Evidence { results, ..Evidence::default() });
    assert_eq!(bad(&lines), [""; 0], "{}", table(&lines));
}

#[test]
fn every_fault_of_a_result_is_found() {
    let tickets = [ticket("a", Work::Returns)];
    let fault = |results: Vec<Seen>| {
        let lines = reckon(&tickets, &Evidence { results, ..Evidence::default() });
        bad(&lines).join("; ")
    };
    assert_eq!(fault(vec![]), "lost: without a result");
    assert_eq!(fault(vec![success("1", "a"), success("2", "a")]), "settled twice");
    let mut other = success("1", "a");
    other.event["data"]["message"] = json!("another");
    let contradicts = "repeats of a result that contradict it";
    assert_eq!(fault(vec![success("1", "a"), other.clone()]), contradicts);
    let results = vec![success("1", "a"), other];
    let lines = reckon(&tickets, &Evidence { results, ..Evidence::default() });
    let cases = &lines.iter().find(|line| line.what == contradicts).unwrap().cases;
    assert_eq!(*cases, [r#"a, "succeeded": differs in {"data.message"}"#]);
    let mut wrong = success("1", "a");
    wrong.event["data"]["result"]["token"] = json!("token-b");
    assert_eq!(fault(vec![wrong]), "wrong results");
    let lost = result("1", "a", &json!({ "verdict": "lost" }));
    assert_eq!(fault(vec![lost]), "wrong results");
    let foreign = vec![success("1", "a"), success("9", "z")];
    assert_eq!(fault(foreign), "results of nobody's run");
    let mut another_run = success("9", "a");
    another_run.event["data"]["run_id"] = json!("another");
    assert_eq!(fault(vec![success("1", "a"), another_run]), "results of nobody's run");
}

#[test]
fn dead_letters_are_those_of_the_refused_messages() {
    let tickets = [ticket("a", Work::IsRefused)];
    let results = vec![result("1", "a", &json!({ "verdict": "rejected" }))];
    let dead = vec![("message-b".to_owned(), "who knows".to_owned())];
    let lines = reckon(&tickets, &Evidence { results, dead, ..Evidence::default() });
    assert_eq!(bad(&lines), ["refused messages without a dead letter", "other dead letters"]);
}

#[test]
fn what_is_left_is_bad() {
    let one = || vec!["one".to_owned()];
    let evidence = Evidence {
        index: one(),
        unfinished: one(),
        containers: one(),
        directories: one(),
        waiting: one(),
        breakdowns: one(),
        ..Evidence::default()
    };
    assert_eq!(bad(&reckon(&[], &evidence)).len(), 6);
}

#[test]
fn two_processes_of_a_bot_overlap_where_one_speaks_before_the_others_last_word() {
    let after = vec![stamp("x", 1, 1000), stamp("x", 2, 1250), stamp("y", 1, 1260)];
    let within =
        vec![stamp("x", 1, 1000), stamp("y", 1, 1100), stamp("y", 2, 1350), stamp("x", 2, 1250)];
    let overlap = |stamps: Vec<Stamp>| {
        let stamps = BTreeMap::from([("bot".to_owned(), stamps)]);
        let lines = reckon(&[], &Evidence { stamps, ..Evidence::default() });
        let line = lines.into_iter().find(|line| line.what.contains("by its log")).unwrap();
        line.found
    };
    assert_eq!(overlap(after), "0.000 s");
    assert_eq!(overlap(within), "0.150 s");
}

#[test]
fn an_unseen_bot_proves_nothing() {
    let stamps = BTreeMap::from([("bot".to_owned(), Vec::new())]);
    let lines = reckon(&[], &Evidence { stamps, ..Evidence::default() });
    assert_eq!(bad(&lines), ["bots without a line", "bots whose processes nobody saw"]);
}

#[test]
fn a_bot_that_speaks_after_it_was_told_as_stopped_was_not_stopped() {
    let stopped = |at: &str| {
        let mut stopped = result("1", "bot", &json!({ "verdict": "stopped" }));
        stopped.event["time"] = json!(at);
        stopped
    };
    let faults = |at: &str| {
        let stamps = BTreeMap::from([("bot".to_owned(), vec![stamp("x", 1, 1_500)])]);
        let results = vec![stopped(at)];
        let lines = reckon(
            &[ticket("bot", Work::Stamps)],
            &Evidence { results, stamps, ..Evidence::default() },
        );
        bad(&lines).contains(&"stops that did not hold")
    };
    assert!(!faults("1970-01-01T00:00:01.500Z"));
    assert!(faults("1970-01-01T00:00:01.499Z"));
}

#[test]
fn missing_and_repeated_lines_are_reported() {
    let stamps = vec![stamp("x", 1, 1), stamp("x", 3, 3), stamp("x", 3, 3)];
    let stamps = BTreeMap::from([("bot".to_owned(), stamps)]);
    let lines = reckon(&[], &Evidence { stamps, ..Evidence::default() });
    let found = |what: &str| lines.iter().find(|line| line.what.contains(what)).unwrap();
    assert_eq!(found("lines missing").found, "1");
    assert_eq!(found("lines stored more than once").found, "1");
}
