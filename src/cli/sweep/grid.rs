//! The values of `--grid`, and the whole sweep of `--sweep`. Pure, except for reading the file.

use crate::cli::Failure;
use crate::cli::order;
use crate::job::JsonText;
use crate::job::json::JsonProblem;
use crate::job::sweep::{Axes, GridAxis, SweepRequest};

/// The sweep of `--sweep`.
pub(super) fn whole(text: &str) -> Result<SweepRequest, Failure> {
    let (source, body) = order::source("--sweep", text)?;
    let wrong = |error: serde_json::Error| Failure::Usage(format!("{source} is no sweep: {error}"));
    serde_json::from_slice(&body).map_err(wrong)
}

/// The keys and values of all `--grid`, in their order.
pub(super) fn axes(flags: &[String]) -> Result<Axes<GridAxis>, Failure> {
    let mut axes = Vec::new();
    for flag in flags {
        let wrong = |problem: &str| Failure::Usage(format!("--grid {flag:?} {problem}"));
        let (key, values) =
            flag.split_once('=').ok_or_else(|| wrong("is not of the form KEY=VALUES"))?;
        if axes.iter().any(|(known, _)| known == key) {
            return Err(wrong("has a key that another --grid has"));
        }
        let given = match range(values) {
            Some(range) => range,
            None => GridAxis::Values(values.split(',').map(value).collect::<Result<_, _>>()?),
        };
        axes.push((key.to_owned(), given));
    }
    Ok(Axes(axes))
}

/// FROM:TO or FROM:TO:STEP, if all of them are numbers.
fn range(text: &str) -> Option<GridAxis> {
    let parts: Vec<_> = text.split(':').collect();
    let (from, to, step) = match parts.as_slice() {
        [from, to] => (from, to, &"1"),
        [from, to, step] => (from, to, step),
        _ => return None,
    };
    let number = |text: &str| {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        text.parse::<JsonText>().ok().filter(|_| is_number)
    };
    Some(GridAxis::Range { from: number(from)?, to: number(to)?, step: number(step)? })
}

/// A number, true, false, null or a JSON text as such; anything else as the text that it is.
fn value(text: &str) -> Result<JsonText, Failure> {
    let is_scalar = !text.starts_with(['{', '[']);
    match text.parse::<JsonText>() {
        Ok(value) if is_scalar => Ok(value),
        _ => {
            let quoted = serde_json::Value::from(text).to_string();
            let wrong =
                |problem: JsonProblem| Failure::Usage(format!("--grid: {text:?} {problem}"));
            quoted.parse().map_err(wrong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_where_they_look_so_and_else_texts() {
        let flags =
            ["a=1,2.50,x y,true,\"7\"", "/b/c=5:50:5", "d=0.1:0.3:0.1", "t=09:30,16:00", "e=1:3"];
        let axes = axes(&flags.map(str::to_owned)).unwrap();
        let text = serde_json::to_string(&axes).unwrap();
        let expected = r#"{"a":[1,2.50,"x y",true,"7"],"/b/c":{"from":5,"to":50,"step":5},"d":{"from":0.1,"to":0.3,"step":0.1},"t":["09:30","16:00"],"e":{"from":1,"to":3,"step":1}}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn mistakes_name_the_flag() {
        let problem = |flags: &[&str]| {
            let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            format!("{:?}", axes(&flags).unwrap_err())
        };
        assert!(problem(&["a"]).contains("is not of the form KEY=VALUES"));
        assert!(problem(&["a=1", "a=2"]).contains("another --grid has"));
    }
}
