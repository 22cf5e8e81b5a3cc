//! What programs and events of strangers may do to a terminal: nothing but colour their text.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use longshore::broker::{BrokerSink, EventSink as _, Inbox};
use longshore::job::{EventData, parse_executable};
use longshore::storage::{Bucket, Condition, ObjectStore as _, S3Store};
use nix::pty::{Winsize, openpty};

use super::client::{event, on, take};
use super::{longshore, text};
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::s3;

/// The clipboard, the title, a device's name, moves of the cursor, a reset, sequences of one character,
/// directions of writing and ends of lines; beside a colour, which may stay.
const HOSTILE: &str = "\u{1b}]52;c;cm0K\u{7}\u{1b}]0;owned\u{7}\u{1b}P+q\u{1b}\\\u{1b}[2J\u{1b}[H\u{1b}c\u{9b}2J\
                       \u{8}\u{8}\0\u{202e}gnp.exe\u{2066}x\u{2069}\u{2028}forged \u{1b}[31mred\rover";

/// Runs a command with a terminal for its output; gives what the terminal was sent, with its own ends
/// of lines taken back.
fn on_a_terminal(command: Command) -> String {
    on_a_terminal_of(None, command)
}

fn on_a_terminal_of(size: Option<&Winsize>, mut command: Command) -> String {
    let terminal = openpty(size, None).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    command.env("TERM", "xterm-256color").stdin(Stdio::null());
    let mut child =
        command.stdout(end(&terminal.slave)).stderr(end(&terminal.slave)).spawn().unwrap();
    // The other end is held by the child alone, so that reading ends with it.
    drop((command, terminal.slave));
    let mut sent = Vec::new();
    // The end of a terminal is an error (EIO).
    drop(File::from(terminal.master).read_to_end(&mut sent));
    child.wait().unwrap();
    text(&sent).replace("\r\n", "\n")
}

/// Nothing but tabs, ends of lines and colours, which each line ends.
fn assert_harmless(sent: &str) {
    for line in sent.split('\n') {
        let (mut rest, mut last) = (line, "0");
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            assert!(!before.contains(is_harmful), "{line:?}");
            let (colour, after) = after.split_once('m').unwrap_or_else(|| panic!("{line:?}"));
            let parameters = colour.strip_prefix('[').unwrap_or_else(|| panic!("{line:?}"));
            assert!(parameters.bytes().all(|b| b.is_ascii_digit() || b == b';'), "{line:?}");
            (last, rest) = (parameters, after);
        }
        assert!(matches!(last, "0" | ""), "colours go on after {line:?}");
        assert!(!rest.contains(is_harmful), "{line:?}");
    }
}

fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\t') || "\u{202e}\u{2066}\u{2069}\u{2028}".contains(c)
}

#[test]
fn a_terminal_gets_logs_without_control_characters() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = format!("terminal-{}", uuid::Uuid::new_v4().simple());
    let store = S3Store::new(&s3::settings()).unwrap();
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000000Z").to_string();
    let stored = format!("{time} stdout {HOSTILE}\n{time} stderr next\n");
    let key = format!("logs/{id}/{}.log", Timestamp::now().strftime("%Y%m%d"));
    let logs = |arguments: &[&str]| {
        let settings = s3::settings();
        let mut command = longshore();
        command
            .env("MINIO_ENDPOINT", &settings.endpoint)
            .env("MINIO_ACCESS_KEY", &settings.access_key)
            .env("MINIO_SECRET_KEY", &settings.secret_key)
            .env("MINIO_LOGS_BUCKET", &settings.logs_bucket)
            .args(["logs", &id])
            .args(arguments);
        command
    };
    runtime.block_on(async {
        store.ensure_buckets().await.unwrap();
        let body = stored.clone().into_bytes().into();
        store.put(Bucket::Logs, &key, body, "text/plain", Condition::None).await.unwrap();
    });
    for arguments in [&[][..], &["--bare"], &["--output", "json"]] {
        let sent = on_a_terminal(logs(arguments));
        assert_harmless(&sent);
        assert_eq!(sent.lines().count(), 2, "{sent:?}");
        assert!(
            sent.contains("gnp.exe") && sent.contains("u{202e}") || sent.contains("u202e"),
            "{sent}"
        );
    }
    assert!(on_a_terminal(logs(&[])).contains("\u{1b}[31mred\\rover\u{1b}[0m\n"));
    assert_eq!(on_a_terminal(logs(&["--raw"])), stored);
    let to_a_file = logs(&[]).output().unwrap();
    assert_eq!(text(&to_a_file.stdout), stored, "another program gets it as it is");
    runtime.block_on(store.delete(Bucket::Logs, &key)).unwrap();
}

#[tokio::test]
async fn a_terminal_gets_events_and_outputs_without_control_characters() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let sink = BrokerSink::new(std::sync::Arc::new(broker.clone()), rabbit.shutdown.child_token());
    let start = |raw: bool| {
        let mut command = on(&rabbit);
        command.args(["start", "--id", "run-1", "--file", "main.py", "--code", "a.zip", "--wait"]);
        command.args(raw.then_some("--raw"));
        command
    };
    let mut watch = on(&rabbit);
    watch.args(["watch", "--limit", "4"]);
    let watching = tokio::task::spawn_blocking(move || on_a_terminal(watch));
    let mut events = Vec::new();
    for raw in [false, true] {
        let command = start(raw);
        let waiting = tokio::task::spawn_blocking(move || on_a_terminal(command));
        let (body, _) = take(&broker, Inbox::StartTerminating, &rabbit).await;
        let executable = parse_executable(&body).unwrap();
        let mut status = event("status.running", &executable);
        let mut result = event("result.failed", &executable);
        for event in [&mut status, &mut result] {
            event.id = format!("{}-{raw}", event.id);
            match &mut event.data {
                EventData::Status(status) => {
                    status.worker = HOSTILE.to_owned();
                    status.message = Some(format!("one\ntwo {HOSTILE}"));
                }
                EventData::Result(result) => {
                    result.message = format!("one\ntwo {HOSTILE}");
                    result.output = format!("{HOSTILE}\nend\n");
                }
            }
            within(sink.publish(event, None)).await.unwrap();
            events.push(event.clone());
        }
        let sent = within(waiting).await.unwrap();
        if raw {
            assert!(sent.contains(HOSTILE), "{sent:?}");
            continue;
        }
        assert_harmless(&sent);
        let told = "longshore: failed: one two ";
        assert!(sent.lines().any(|line| line.starts_with(told)), "{sent}");
        assert!(sent.contains("\u{1b}[31mred\\rover\u{1b}[0m\nend\n"), "{sent}");
    }
    // Until it has subscribed nothing reaches it, so this is said again until it has enough.
    let telling = async {
        for event in events.iter().cycle() {
            within(sink.publish(event, None)).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let sent = tokio::select! {
        sent = within(watching) => sent.unwrap(),
        () = telling => String::new(),
    };
    assert_harmless(&sent);
    assert_eq!(sent.lines().count(), 4, "each event is one line: {sent}");
    rabbit.clean_up().await;
}

/// The same command in a session of its own: the terminal of whoever runs the tests has another width.
fn in_a_session(command: &Command) -> Command {
    let mut again = Command::new("setsid");
    again.arg("--wait").arg(command.get_program()).args(command.get_args());
    again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    again
}

#[tokio::test]
async fn event_lines_fit_into_a_terminal_and_are_whole_in_a_file() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let sink = BrokerSink::new(std::sync::Arc::new(broker.clone()), rabbit.shutdown.child_token());
    let id = "0af76519-16cd-43dd-8448-eb211c80319c";
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    for is_terminal in [true, false] {
        let mut command = on(&rabbit);
        command.args(["start", "--id", id, "--file", "main.py", "--code", "a.zip", "--wait"]);
        let waiting = tokio::task::spawn_blocking(move || {
            if is_terminal {
                on_a_terminal_of(Some(&size), in_a_session(&command))
            } else {
                text(&command.output().unwrap().stderr)
            }
        });
        let (body, _) = take(&broker, Inbox::StartTerminating, &rabbit).await;
        let executable = parse_executable(&body).unwrap();
        let mut status = event("status.running", &executable);
        if let EventData::Status(status) = &mut status.data {
            status.message = Some(format!("{}end", "word ".repeat(40)));
        }
        within(sink.publish(&status, None)).await.unwrap();
        within(sink.publish(&event("result.succeeded", &executable), None)).await.unwrap();
        let sent = within(waiting).await.unwrap();
        let line = sent.lines().find(|line| line.contains("running")).expect(&sent);
        let plain = without_colours(line);
        if is_terminal {
            assert!(plain.contains("  0af76519…c80319c  #") && plain.ends_with('…'), "{plain:?}");
            assert_eq!(plain.chars().count(), 80, "{plain:?}");
        } else {
            assert!(plain.starts_with("longshore: ") && plain.contains(id), "{plain:?}");
            assert!(plain.ends_with("word end"), "{plain:?}");
        }
    }
    rabbit.clean_up().await;
}

/// A line without its colours.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}
