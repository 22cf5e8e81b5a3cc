use super::*;

fn topology() -> Topology {
    Topology::new("ns", &[5, 30, 120].map(Duration::from_secs))
}

#[test]
fn each_attempt_waits_in_the_step_of_its_number_until_they_are_exhausted() {
    let name = |attempt| topology().retry_step(attempt).map(|step| step.name);
    assert_eq!(name(1).as_deref(), Some("ns.retry.5s"));
    assert_eq!(name(2).as_deref(), Some("ns.retry.30s"));
    assert_eq!(name(3).as_deref(), Some("ns.retry.120s"));
    assert_eq!(name(4), None);
    assert_eq!(name(u32::MAX), None);
    assert_eq!(name(0), name(1), "an attempt 0 is nonsense, not a crash");
}

#[test]
fn delays_under_a_second_have_names_of_their_own() {
    let topology = Topology::new("ns", &[250, 1500, 2000].map(Duration::from_millis));
    let names: Vec<_> = topology.steps().into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["ns.retry.250ms", "ns.retry.1500ms", "ns.retry.2s"]);
}

#[test]
fn equal_delays_share_a_queue() {
    let topology = Topology::new("ns", &[5, 5, 5].map(Duration::from_secs));
    assert_eq!(topology.steps().len(), 1);
    assert_eq!(topology.retry_step(3), topology.retry_step(1));
}

#[test]
fn everything_is_in_the_namespace_and_every_binding_leads_to_a_declared_exchange() {
    let topology = topology();
    let exchanges: Vec<_> = topology.exchanges().into_iter().map(|spec| spec.name).collect();
    let mut queues = topology.queues();
    queues.push(topology.inbox_spec(Inbox::Mailbox(7)));
    for queue in &queues {
        assert!(queue.name.starts_with("ns."), "{}", queue.name);
        for exchange in &queue.exchanges {
            assert!(exchanges.contains(exchange), "{exchange}");
        }
    }
    assert!(exchanges.iter().all(|name| name.starts_with("ns.")));
    assert!(queues.iter().any(|queue| queue.name == "ns.segment.7"));
}

#[test]
fn whatever_dead_letters_does_so_at_least_once() {
    for queue in &topology().queues() {
        assert_eq!(argument(queue, "x-queue-type"), Some(text("quorum")));
        assert_eq!(argument(queue, "x-dead-letter-strategy"), Some(text("at-least-once")));
        assert_eq!(argument(queue, "x-overflow"), Some(text("reject-publish")));
        assert!(argument(queue, "x-dead-letter-exchange").is_some());
    }
}

fn argument(queue: &QueueSpec, name: &str) -> Option<Argument> {
    queue.arguments.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
}

fn text(text: &str) -> Argument {
    Argument::Text(text.to_owned())
}

/// At-least-once dead-lettering keeps a message in its queue until some queue has taken it.
#[test]
fn whatever_dead_letters_leads_to_a_place_that_never_refuses() {
    let topology = topology();
    let dead = topology.dead_spec();
    assert_eq!(argument(&dead, "x-overflow"), Some(text("drop-head")));
    assert_eq!(argument(&dead, "x-max-length"), Some(Argument::Number(10_000)));
    assert_eq!(argument(&dead, "x-delivery-limit"), Some(Argument::Number(1_000_000)));
    assert_eq!(argument(&dead, "x-max-length-bytes"), Some(Argument::Number(256 << 20)));
    for queue in &topology.queues() {
        let Some(Argument::Text(target)) = argument(queue, "x-dead-letter-exchange") else {
            panic!("{} keeps what it cannot deliver", queue.name);
        };
        let exchanges = topology.exchanges();
        let target = exchanges.iter().find(|exchange| exchange.name == target).unwrap();
        let is_dead = target.name == "ns.dead" && target.routing == Routing::Fanout;
        let falls_back = target.alternate.as_deref() == Some("ns.dead");
        assert!(is_dead || falls_back, "{}: {}", queue.name, target.name);
    }
}

#[test]
fn publishers_reach_the_shared_inboxes_and_nothing_else() {
    let topology = topology();
    let jobs = topology.jobs_exchange();
    let mut queues = topology.queues();
    queues.push(topology.inbox_spec(Inbox::Mailbox(0)));
    let reached: Vec<_> =
        queues.iter().filter(|queue| queue.exchanges.contains(&jobs)).map(|q| &q.name).collect();
    assert_eq!(reached, ["ns.start.terminating", "ns.start.long-running", "ns.stop"]);
}

#[test]
fn starts_that_the_broker_gives_up_on_come_to_a_worker_and_other_messages_to_the_dead_letters() {
    let topology = topology();
    for inbox in [Inbox::StartTerminating, Inbox::StartLongRunning] {
        let queue = topology.inbox_spec(inbox);
        assert_eq!(argument(&queue, "x-dead-letter-exchange"), Some(text("ns.returns")));
        assert_eq!(argument(&queue, "x-dead-letter-routing-key"), Some(text("undelivered")));
    }
    let undelivered = topology.inbox_spec(Inbox::Undelivered);
    assert_eq!(undelivered.routing_key, "undelivered");
    for inbox in [Inbox::Undelivered, Inbox::Stop, Inbox::Mailbox(1)] {
        let queue = topology.inbox_spec(inbox);
        assert_eq!(argument(&queue, "x-dead-letter-exchange"), Some(text("ns.dead")));
        assert_eq!(argument(&queue, "x-dead-letter-routing-key"), None);
    }
}

#[test]
fn only_the_exchanges_of_workers_count_as_internal() {
    let topology = topology();
    assert!(topology.is_internal("ns.workers") && topology.is_internal("ns.returns"));
    for exchange in ["", "ns.jobs", "ns.dead", "ns.retry.5s", "other.workers", "amq.topic"] {
        assert!(!topology.is_internal(exchange), "{exchange}");
    }
}
