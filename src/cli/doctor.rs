//! `longshore doctor`: runs every check. Each prints one line with the state and how to fix it.

mod apart;
mod broker;
mod checks;
mod finding;
mod queues;

use anstyle::{AnsiColor, Style};
use clap::Args;

use self::finding::{Finding, Grade};
use super::output::{Format, print, print_json};
use super::terminal::one_line;
use super::{Context, Outcome};

/// Check everything that a worker needs, and suggest fixes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore doctor
  longshore doctor --output json | jq '.[] | select(.grade != \"ok\")'

Exit codes: 0 nothing has failed (warnings may stand), 1 a check has failed.")]
pub struct DoctorArguments {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &DoctorArguments, context: &Context) -> Outcome {
    let findings = Box::pin(checks::all(&context.loader)).await;
    match arguments.output {
        Format::Text => print(&findings.iter().map(line).collect::<String>())?,
        Format::Json => print_json(&findings)?,
    }
    Ok(exit_code(&findings))
}

fn exit_code(findings: &[Finding]) -> u8 {
    u8::from(findings.iter().any(|finding| finding.grade == Grade::Fail))
}

fn line(finding: &Finding) -> String {
    let (word, colour) = match finding.grade {
        Grade::Ok => ("ok", AnsiColor::Green),
        Grade::Warn => ("warn", AnsiColor::Yellow),
        Grade::Fail => ("fail", AnsiColor::Red),
    };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let remedy = finding.remedy.as_ref().map_or_else(String::new, |remedy| format!("; {remedy}"));
    let said = one_line(&format!("{}{remedy}", finding.said));
    format!("{style}{word:<4}{style:#}  {:<9} {said}\n", finding.check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_check_fails_the_command() {
        let good = [Finding::ok("a", "well"), Finding::warn("b", "so so", "do this")];
        assert_eq!(exit_code(&good), 0);
        let bad = [Finding::ok("a", "well"), Finding::fail("b", "ill", "do that")];
        assert_eq!(exit_code(&bad), 1);
    }

    #[test]
    fn a_line_suggests_a_fix() {
        let told = anstream::adapter::strip_str(&line(&Finding::fail("store", "ill", "do that")))
            .to_string();
        assert_eq!(told, "fail  store     ill; do that\n");
    }
}
