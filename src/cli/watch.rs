//! `longshore watch`.

use std::collections::VecDeque;

use clap::Args;

use super::client::Client;
use super::output::{Format, print, print_json_line, terminal_width};
use super::telemetry::Voice;
use super::{Context, Failure, Outcome, event_line};
use crate::broker::{Binding, Feed};
use crate::job::{JobId, State, Verdict};
use crate::settings::Reader;

/// How many event ids are remembered to drop repeats.
const REMEMBERED: usize = 1024;

/// Follow events as they come.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore watch
  longshore watch --id my-bot
  longshore watch --verdict failed --verdict out_of_memory --output json | jq .data.message
  longshore watch --state unhealthy --entrypoint bot

With --state alone only status events come, with --verdict alone only results.")]
pub struct WatchArguments {
    /// Only this job; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<JobId>,
    /// Only status events of this state; may be repeated
    #[arg(long, value_parser = word_parser(State::ALL.map(State::as_str)))]
    state: Vec<String>,
    /// Only results of this verdict; may be repeated
    #[arg(long, value_parser = word_parser(Verdict::ALL.map(Verdict::as_str)))]
    verdict: Vec<String>,
    /// Only bots, or only backtests
    #[arg(long, value_parser = ["bot", "backtest"])]
    entrypoint: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One aligned line an event, or one JSON document a line
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn word_parser<const N: usize>(words: [&'static str; N]) -> clap::builder::PossibleValuesParser {
    words.into()
}

pub(super) async fn run(arguments: &WatchArguments, context: &Context) -> Outcome {
    let settings = context.settings(Voice::Tool, Reader::broker)?;
    let client = Client::connect(&settings).await?;
    let mut events = client.follow(bindings(arguments)).await?;
    let mut seen = VecDeque::with_capacity(REMEMBERED);
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(event) = events.next().await else {
            break;
        };
        if seen.contains(&event.id) {
            continue;
        }
        match arguments.output {
            Format::Text => print(&event_line::line(&event, terminal_width()))?,
            Format::Json => print_json_line(&event)?,
        }
        seen.truncate(REMEMBERED - 1);
        seen.push_front(event.id);
        left -= 1;
    }
    client.close().await;
    Ok::<u8, Failure>(0)
}

/// One binding for each combination that was asked for.
fn bindings(arguments: &WatchArguments) -> Vec<Binding> {
    let any = vec!["*".to_owned()];
    let or_any = |words: &[String]| if words.is_empty() { any.clone() } else { words.to_vec() };
    let ids: Vec<_> = arguments.id.iter().map(JobId::to_string).collect();
    let kind = arguments.entrypoint.as_deref().unwrap_or("*");
    let mut bindings = Vec::new();
    let mut bind = |feed: Feed, words: &[String]| {
        for word in or_any(words) {
            for id in or_any(&ids) {
                bindings.push(Binding { feed, pattern: format!("{word}.{kind}.{id}") });
            }
        }
    };
    let both = arguments.state.is_empty() == arguments.verdict.is_empty();
    if both || !arguments.state.is_empty() {
        bind(Feed::Status, &arguments.state);
    }
    if both || !arguments.verdict.is_empty() {
        bind(Feed::Results, &arguments.verdict);
    }
    bindings
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::job::Entrypoint;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        watch: WatchArguments,
    }

    fn patterns(line: &[&str]) -> Vec<String> {
        let line = Line::try_parse_from([&["watch"], line].concat()).unwrap();
        let shown = |b: Binding| format!("{:?} {}", b.feed, b.pattern);
        bindings(&line.watch).into_iter().map(shown).collect()
    }

    #[test]
    fn without_filters_everything_is_bound() {
        assert_eq!(patterns(&[]), ["Status *.*.*", "Results *.*.*"]);
    }

    #[test]
    fn a_filter_of_one_feed_leaves_out_the_other() {
        assert_eq!(patterns(&["--state", "running"]), ["Status running.*.*"]);
        assert_eq!(
            patterns(&["--verdict", "failed", "--verdict", "lost", "--id", "a"]),
            ["Results failed.*.a", "Results lost.*.a"]
        );
        let bots = patterns(&["--state", "running", "--verdict", "failed", "--entrypoint", "bot"]);
        assert_eq!(bots, ["Status running.bot.*", "Results failed.bot.*"]);
    }

    #[test]
    fn every_entrypoint_can_be_asked_for() {
        for kind in [Entrypoint::Bot, Entrypoint::Backtest] {
            assert!(!patterns(&["--entrypoint", kind.as_str()]).is_empty());
        }
    }
}
