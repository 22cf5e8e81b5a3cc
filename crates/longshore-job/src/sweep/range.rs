//! A range of exact decimals, both ends included.

use rust_decimal::Decimal;

use crate::json::JsonText;

/// Decimals with the same difference between each two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: Decimal,
    step: Decimal,
    count: u64,
}

impl Range {
    /// The range from `from` to `to`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(super) fn new(from: &JsonText, to: &JsonText, step: &JsonText) -> Result<Self, String> {
        let (from, to) = (decimal("from", from)?, decimal("to", to)?);
        let step = decimal("step", step)?;
        if step.is_zero() {
            return Err("has a step of 0".to_owned());
        }
        let too_many = || "has more values than can be counted".to_owned();
        let span = to.checked_sub(from).ok_or_else(too_many)?;
        if !span.is_zero() && span.is_sign_negative() != step.is_sign_negative() {
            return Err(format!("leads away from {to}: from {from} in steps of {step}"));
        }
        let steps = span.checked_div(step).ok_or_else(too_many)?.floor();
        let steps = u64::try_from(steps).map_err(|_| too_many())?;
        // So that no value of it can be too large.
        Decimal::from(steps).checked_mul(step).ok_or_else(too_many)?;
        Ok(Self { from, step, count: steps.checked_add(1).ok_or_else(too_many)? })
    }

    /// How many numbers it has.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The number with this number, from 0.
    pub(super) fn text(&self, number: u64) -> String {
        let offset = Decimal::from(number).checked_mul(self.step);
        let value = offset.and_then(|offset| self.from.checked_add(offset)).unwrap_or(self.from);
        value.normalize().to_string()
    }

    /// The most bytes that the text of one of its numbers has.
    pub(super) fn most_bytes(&self) -> usize {
        let digits = |number| self.text(number).len();
        let scale = self.from.scale().max(self.step.scale());
        digits(0).max(digits(self.count - 1)) + usize::try_from(scale).unwrap_or_default() + 1
    }
}

fn decimal(name: &str, text: &JsonText) -> Result<Decimal, String> {
    let text = text.as_str();
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let read = |text: &str| {
        if text.contains(['e', 'E']) {
            Decimal::from_scientific(text)
        } else {
            Decimal::from_str_exact(text)
        }
    };
    match read(text) {
        Ok(number) if is_number => Ok(number),
        _ if is_number => Err(format!("has {name} = {text}, a number of more than 28 digits")),
        _ => Err(format!("has {name} = {text:.40}, which is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str, step: &str) -> Result<Vec<String>, String> {
        let text = |text: &str| text.parse::<JsonText>().unwrap();
        let range = Range::new(&text(from), &text(to), &text(step))?;
        let all: Vec<_> = (0..range.count()).map(|number| range.text(number)).collect();
        assert!(all.iter().all(|text| text.len() <= range.most_bytes()));
        Ok(all)
    }

    #[test]
    fn both_ends_are_included_and_decimals_are_exact() {
        assert_eq!(range("5", "20", "5").unwrap(), ["5", "10", "15", "20"]);
        assert_eq!(range("0.1", "0.5", "0.1").unwrap(), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(range("0", "1", "0.4").unwrap(), ["0", "0.4", "0.8"]);
        assert_eq!(range("1", "-1", "-1").unwrap(), ["1", "0", "-1"]);
        assert_eq!(range("3", "3", "1").unwrap(), ["3"]);
        assert_eq!(range("1e-3", "3E-3", "0.001").unwrap(), ["0.001", "0.002", "0.003"]);
        assert_eq!(range("4.50", "5.5", "0.5").unwrap(), ["4.5", "5", "5.5"]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (from, to, step, said) in [
            ("1", "2", "0", "step of 0"),
            ("1", "2", "-1", "leads away"),
            ("2", "1", "1", "leads away"),
            ("\"1\"", "2", "1", "not a number"),
            ("null", "2", "1", "not a number"),
            ("1", "1e40", "1", "more than 28 digits"),
            ("0", "7e27", "1e-9", "more values"),
        ] {
            let problem = range(from, to, step).unwrap_err();
            assert!(problem.contains(said), "{from} {to} {step}: {problem}");
        }
    }
}
