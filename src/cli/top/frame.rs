//! One frame: as many lines as a terminal has, each as wide as it is at most. Pure.

use jiff::Timestamp;

use crate::cli::fit::{cut, padded, without_middle};
use crate::cli::terminal::one_line;
use crate::cli::time::{ago, took};
use crate::facts::{LiveJob, Overview, QueueReport, WorkerReport};

/// A line of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Whether it names what is below it.
    pub(super) is_head: bool,
}

/// What a frame shows beside the facts.
#[derive(Default)]
pub(super) struct Shown<'a> {
    pub(super) namespace: &'a str,
    pub(super) filter: &'a str,
    pub(super) is_typing: bool,
    /// The seconds between two looks, if there are more than one.
    pub(super) every: Option<u64>,
    /// Why the last look failed.
    pub(super) problem: Option<&'a str>,
}

/// The columns of a frame that no terminal bounds.
const UNBOUNDED: usize = 160;

/// The least columns that are filled: a terminal with fewer cuts what is too long.
const LEAST: usize = 60;

/// The lines that workers and queues get of so many, each with its head and a line that is empty.
const SHARE: usize = 4;

/// Spaces between two columns.
const GAP: usize = 2;

/// One column: its head, the columns that it takes, and whether it is an id, which loses its middle.
type Column = (&'static str, usize, bool);

/// The lines of a frame.
pub(super) fn lines(
    overview: Option<&Overview>,
    shown: &Shown<'_>,
    (width, height): (Option<usize>, Option<usize>),
) -> Vec<Line> {
    let width = width.unwrap_or(UNBOUNDED);
    let mut lines = vec![head(overview, shown)];
    if let Some(problem) = shown.problem {
        lines.push(plain(format!("cannot look: {}", one_line(problem))));
    }
    match overview {
        None => lines.push(plain("looking …".to_owned())),
        Some(overview) => {
            lines.push(plain(one_line(&overview.queues.said)));
            lines.extend(body(
                overview,
                shown,
                width.max(LEAST),
                height.map(|h| h.saturating_sub(lines.len())),
            ));
        }
    }
    if let Some(height) = height {
        lines.truncate(height);
    }
    for line in &mut lines {
        line.text = cut(line.text.trim_end(), width);
    }
    lines
}

fn head(overview: Option<&Overview>, shown: &Shown<'_>) -> Line {
    let mut text = format!("longshore top  {}", one_line(shown.namespace));
    if let Some(overview) = overview {
        text += &overview.at.strftime("  %H:%M:%SZ").to_string();
    }
    if let Some(every) = shown.every {
        text.extend(["  every ", &every.to_string(), " s"]);
    }
    let filter = one_line(shown.filter);
    let filter = match (shown.is_typing, filter.is_empty(), shown.every) {
        (true, ..) => format!("  filter: {filter}_"),
        (false, false, _) => format!("  filter: {filter}"),
        (false, true, Some(_)) => "  q ends, / filters".to_owned(),
        (false, true, None) => String::new(),
    };
    text.push_str(&filter);
    Line { text, is_head: true }
}

fn body(overview: &Overview, shown: &Shown<'_>, width: usize, height: Option<usize>) -> Vec<Line> {
    let now = overview.at;
    let share = height.map(|height| (height / SHARE).max(2));
    let prefix = format!("{}.", shown.namespace);
    let mut queues: Vec<_> = overview.queues.queues.iter().collect();
    // Those in which something waits, where there is no room for all.
    queues.sort_by_key(|queue| queue.waiting == 0);
    let workers: Vec<_> = overview.fleet.iter().map(|worker| of_worker(worker, now)).collect();
    let queues: Vec<_> = queues.into_iter().map(|queue| of_queue(queue, &prefix)).collect();
    let jobs: Vec<_> = overview.jobs.iter().map(|job| of_job(job, now)).collect();
    let mut lines = Vec::new();
    lines.extend(table(worker_columns(width), workers, share, 0));
    lines.extend(table(queue_columns(width), queues, share, 0));
    let left = height.map(|height| height.saturating_sub(lines.len()));
    lines.extend(table(job_columns(width), jobs, left, overview.more));
    lines
}

/// A table with its head and an empty line above it, in at most `most` lines. `more` says how many rows there are
/// beside these.
fn table<const N: usize>(
    columns: [Column; N],
    mut rows: Vec<[String; N]>,
    most: Option<usize>,
    more: usize,
) -> Vec<Line> {
    let room = most.map_or(usize::MAX, |most| most.saturating_sub(2));
    let mut more = more;
    if rows.len() > room || (more > 0 && rows.len() == room) {
        let kept = room.saturating_sub(1);
        more += rows.len() - kept;
        rows.truncate(kept);
    }
    let row = |cells: [String; N]| {
        let cells = cells.into_iter().zip(&columns).map(|(cell, (_, width, is_id))| {
            let cell = one_line(&cell);
            let cell = if *is_id { without_middle(&cell, *width) } else { cut(&cell, *width) };
            padded(&cell, *width + GAP)
        });
        cells.collect::<String>()
    };
    let head = Line { text: row(columns.map(|(head, ..)| head.to_owned())), is_head: true };
    let rows = rows.into_iter().map(|cells| plain(row(cells)));
    let rest = (more > 0 && room > 0).then(|| plain(format!("… and {more} more")));
    [plain(String::new()), head].into_iter().chain(rows).chain(rest).collect()
}

fn plain(text: String) -> Line {
    Line { text, is_head: false }
}

/// What is left of a width beside columns of these widths.
fn rest(width: usize, others: &[usize]) -> usize {
    let used: usize = others.iter().map(|other| other + GAP).sum();
    width.saturating_sub(used)
}

fn worker_columns(width: usize) -> [Column; 5] {
    let left = rest(width, &[12, 5, 8]) - GAP;
    let worker = left.min(40) * 3 / 5;
    [
        ("WORKER", worker, true),
        ("SEGMENTS", 12, false),
        ("JOBS", 5, false),
        ("SINCE", 8, false),
        ("HOST", left.saturating_sub(worker), true),
    ]
}

fn of_worker(worker: &WorkerReport, now: Timestamp) -> [String; 5] {
    let segments: Vec<_> = worker.segments.iter().map(ToString::to_string).collect();
    [
        worker.worker.clone(),
        segments.join(","),
        worker.jobs.to_string(),
        ago(worker.since, now),
        worker.host.clone(),
    ]
}

fn queue_columns(width: usize) -> [Column; 3] {
    [("QUEUE", rest(width, &[9, 9]).min(40), true), ("WAITING", 9, false), ("CONSUMERS", 9, false)]
}

fn of_queue(queue: &QueueReport, prefix: &str) -> [String; 3] {
    let consumers = queue.consumers.map_or_else(|| "-".to_owned(), |many| many.to_string());
    let name = queue.queue.strip_prefix(prefix).unwrap_or(&queue.queue);
    [name.to_owned(), queue.waiting.to_string(), consumers]
}

fn job_columns(width: usize) -> [Column; 6] {
    let left = rest(width, &[8, 10, 7]) - 2 * GAP;
    let (job, worker) = ((left * 2 / 5).min(40), (left / 5).min(24));
    [
        ("JOB", job, true),
        ("KIND", 8, false),
        ("STATE", 10, false),
        ("AGE", 7, false),
        ("WORKER", worker, true),
        ("PROGRESS", left.saturating_sub(job + worker), false),
    ]
}

fn of_job(live: &LiveJob, now: Timestamp) -> [String; 6] {
    let job = &live.job;
    let age = now.duration_since(job.begun_at).as_secs_f64().max(0.0);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        job.id.to_string(),
        or_dash(live.kind.map(|kind| kind.to_string())),
        live.stage.map_or_else(|| job.word(), crate::job::State::as_str).to_owned(),
        took(age),
        or_dash(job.worker.clone()),
        or_dash(live.progress.as_ref().map(ToString::to_string)),
    ]
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::facts::{JobReport, QueuesReport};
    use crate::job::{Entrypoint, RunProgress, State};
    use crate::storage::RecordState;

    const HOSTILE: &str = "\u{1b}[2J\u{1b}[Hforged\r\n\u{202e}evil";

    fn overview(count: usize) -> Overview {
        let at = "2026-03-02T09:17:08Z".parse().unwrap();
        let progress: RunProgress = serde_json::from_value(serde_json::json!({
            "percent": 37.5, "text": HOSTILE, "done": 37, "failed": 0, "total": 100,
            "per_second": 0.0,
        }))
        .unwrap();
        let job = |number: usize| LiveJob {
            job: JobReport {
                id: format!("sma-eurusd-with-a-long-name-{number:04}").parse().unwrap(),
                run_id: "r1".parse().unwrap(),
                state: RecordState::Active,
                verdict: None,
                message: None,
                attempt: 1,
                segment: 3,
                worker: Some(HOSTILE.to_owned()),
                begun_at: "2026-03-02T09:15:03Z".parse().unwrap(),
                finished_at: None,
                duration_seconds: None,
            },
            kind: Some(Entrypoint::Backtest),
            stage: Some(State::Running),
            progress: Some(progress.clone()),
        };
        let worker = |number: usize| WorkerReport {
            worker: format!("worker-{number}-{HOSTILE}"),
            segments: vec![1, 2, 3],
            jobs: 4,
            host: "0af76519-16cd-43dd-8448-eb211c80319c".to_owned(),
            engine: "e".to_owned(),
            since: at,
        };
        let queue = |number: usize| QueueReport {
            queue: format!("ns.queue-{number}"),
            waiting: u32::from(number == 5),
            consumers: (number < 3).then_some(2),
        };
        Overview {
            at,
            queues: QueuesReport {
                said: "no start waits; 3 workers are connected".to_owned(),
                workers: 3,
                free_for_terminating: 2,
                free_for_long_running: 3,
                queues: (0..count).map(queue).collect(),
            },
            fleet: (0..count).map(worker).collect(),
            jobs: (0..count).map(job).collect(),
            more: 0,
        }
    }

    fn shown() -> Shown<'static> {
        Shown { namespace: "ns", every: Some(2), ..Shown::default() }
    }

    #[test]
    fn a_frame_fits_into_any_terminal_and_no_text_moves_the_cursor() {
        for (width, height) in [(80, 24), (60, 10), (200, 60), (20, 3), (1, 1)] {
            for count in [0, 1, 10, 500] {
                let made = lines(Some(&overview(count)), &shown(), (Some(width), Some(height)));
                assert!(made.len() <= height, "{width}x{height} with {count}: {}", made.len());
                for Line { text, .. } in &made {
                    assert!(text.width() <= width, "{width}x{height}: {text:?}");
                    assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn all_three_tables_have_room_in_80_by_24() {
        let made = lines(Some(&overview(20)), &shown(), (Some(80), Some(24)));
        let texts: Vec<_> = made.iter().map(|line| line.text.as_str()).collect();
        let all = texts.join("\n");
        for head in ["WORKER ", "QUEUE ", "JOB "] {
            assert!(texts.iter().any(|line| line.starts_with(head)), "{head}\n{all}");
        }
        assert!(all.contains("queue-5"), "the queue in which a message waits\n{all}");
        assert_eq!(all.matches("… and").count(), 3, "{all}");
        let job = texts.iter().find(|line| line.starts_with("sma-")).unwrap();
        assert!(job.contains("0000  backtest  running     2m 5s"), "{job}");
        assert!(job.contains("37"), "{job}");
    }

    #[test]
    fn without_a_height_everything_is_there() {
        let made = lines(Some(&overview(50)), &Shown { every: None, ..shown() }, (None, None));
        assert_eq!(made.iter().filter(|line| line.text.starts_with("sma-")).count(), 50);
        assert_eq!(made[0].text, "longshore top  ns  09:17:08Z");
    }

    #[test]
    fn a_problem_and_a_filter_are_told() {
        let typing = Shown { filter: "bot", is_typing: true, problem: Some("gone"), ..shown() };
        let made = lines(None, &typing, (Some(80), Some(24)));
        let texts: Vec<_> = made.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts,
            ["longshore top  ns  every 2 s  filter: bot_", "cannot look: gone", "looking …"]
        );
    }
}
