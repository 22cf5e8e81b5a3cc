//! A backtest in Rust, of the standard library alone: the strategy of `../ma-crossover`, as a program of its own.
//!
//! ```sh
//! rustc --edition 2024 -O -C target-feature=+crt-static -C strip=symbols -o backtest backtest.rs
//! longshore run .
//! ```
//!
//! What Longshore asks of a program: the config is in the file that CONFIG_FILE names, as JSON. The program starts
//! in the folder of its files. Its result goes into result.json there, as JSON, and exit code 0 says that it is one.
//! With another exit code the run has failed; then {"status": "error", "message": "why"} says why.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

const FEE: f64 = 0.001; // of what is traded, at each buy and each sale
const CASH: f64 = 10_000.0;

struct Bar {
    open: f64,
    close: f64,
}

fn main() -> ExitCode {
    let (result, code) = match run() {
        Ok(result) => (result, ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            let message = error.to_string().replace(['"', '\\'], "'");
            (format!(r#"{{"status": "error", "message": "{message}"}}"#), ExitCode::FAILURE)
        }
    };
    // In place: nothing else here can be written.
    match fs::write("result.json", result) {
        Ok(()) => code,
        Err(error) => {
            eprintln!("result.json cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn Error>> {
    let config = fs::read_to_string(std::env::var("CONFIG_FILE")?)?;
    let (fast, slow) =
        (number(&config, "fast")?.unwrap_or(10), number(&config, "slow")?.unwrap_or(30));
    if !(0 < fast && fast < slow) {
        return Err(
            format!("fast must be above 0 and below slow, and they are {fast} and {slow}").into()
        );
    }
    let bars = read_bars("prices.csv")?;
    println!("{} bars, fast {fast}, slow {slow}", bars.len());
    let (trades, equity) = simulate(&bars, fast, slow);
    println!("{trades} trades, equity {equity:.2}");
    let gain = equity / CASH - 1.0;
    Ok(format!(r#"{{"trades": {trades}, "total_return": {gain:.6}, "final_equity": {equity:.2}}}"#))
}

/// A whole number of the config. A program with more than two of them takes a library such as serde_json.
fn number(config: &str, name: &str) -> Result<Option<usize>, Box<dyn Error>> {
    let Some((_, rest)) = config.split_once(&format!("\"{name}\"")) else { return Ok(None) };
    let value = rest.trim_start().trim_start_matches(':').trim_start();
    let text = value.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    text.parse().map(Some).map_err(|_| format!("{name} is not a whole number").into())
}

fn read_bars(path: &str) -> Result<Vec<Bar>, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let bar = |line: &str| -> Result<Bar, Box<dyn Error>> {
        let mut fields = line.split(',').skip(1);
        let mut next = || fields.next().unwrap_or_default().parse::<f64>();
        Ok(Bar { open: next()?, close: next()? })
    };
    text.lines().skip(1).map(bar).collect()
}

/// How many trades there were, and what is left in the end.
fn simulate(bars: &[Bar], fast: usize, slow: usize) -> (usize, f64) {
    let mean = |end: usize, length: usize| {
        bars[end - length..end].iter().map(|bar| bar.close).sum::<f64>() / length as f64
    };
    let (mut cash, mut shares, mut trades) = (CASH, 0.0, 0);
    for (index, bar) in bars.iter().enumerate() {
        // Decided at the close before.
        let invest = index >= slow && mean(index, fast) > mean(index, slow);
        if invest && shares == 0.0 {
            (shares, cash) = (cash / (bar.open * (1.0 + FEE)), 0.0);
        } else if !invest && shares > 0.0 {
            (cash, shares, trades) = (shares * bar.open * (1.0 - FEE), 0.0, trades + 1);
        }
    }
    if let (true, Some(last)) = (shares > 0.0, bars.last()) {
        (cash, trades) = (shares * last.close * (1.0 - FEE), trades + 1);
    }
    (trades, cash)
}
