//! Random values that are the same everywhere: they come from SHA-256 of seed, number and key.

use sha2::{Digest, Sha256};

use super::request::SampleAxis;

/// Significant digits of a random number. Mathematical libraries differ in the last ones.
const DIGITS: usize = 12;

/// The value of a key in the config with this number, as JSON.
pub(super) fn value(axis: &SampleAxis, seed: u64, index: u64, key: &str) -> String {
    let chance = chance(seed, index, key);
    match axis {
        SampleAxis::Choice(values) => {
            let picked = usize::try_from(scaled(chance, values.len() as u64)).unwrap_or_default();
            values.get(picked).map(|value| value.as_str().to_owned()).unwrap_or_default()
        }
        SampleAxis::Uniform([from, to]) => number(from + fraction(chance) * (to - from)),
        SampleAxis::LogUniform([from, to]) => {
            number((from.ln() + fraction(chance) * (to.ln() - from.ln())).exp())
        }
        SampleAxis::Int([from, to]) => {
            let span = u64::try_from(i128::from(*to) - i128::from(*from) + 1).unwrap_or(u64::MAX);
            (i128::from(*from) + i128::from(scaled(chance, span))).to_string()
        }
    }
}

/// What is wrong with where values come from, as the end of a sentence.
pub(super) fn problem(axis: &SampleAxis) -> Option<String> {
    match axis {
        SampleAxis::Choice(values) => values.is_empty().then(|| "has no values".to_owned()),
        SampleAxis::Uniform([from, to]) => {
            let is_good = from <= to && (to - from).is_finite();
            (!is_good).then(|| format!("is not between two numbers: {from}, {to}"))
        }
        SampleAxis::LogUniform([from, to]) => {
            let is_good = 0.0 < *from && from <= to && to.is_finite();
            (!is_good).then(|| format!("is not between two numbers above 0: {from}, {to}"))
        }
        SampleAxis::Int([from, to]) => {
            (from > to).then(|| format!("is not between two whole numbers: {from}, {to}"))
        }
    }
}

/// The first 64 bits of SHA-256 of `{seed}:{index}:{key}`.
fn chance(seed: u64, index: u64, key: &str) -> u64 {
    let hash = Sha256::digest(format!("{seed}:{index}:{key}"));
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A whole number below `span`.
fn scaled(chance: u64, span: u64) -> u64 {
    u64::try_from((u128::from(chance) * u128::from(span)) >> 64).unwrap_or_default()
}

/// A number from 0 up to, but not including, 1: the first 53 bits.
#[allow(clippy::cast_precision_loss, reason = "53 bits are exact in a 64-bit float")]
fn fraction(chance: u64) -> f64 {
    (chance >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number to some significant digits, as JSON.
fn number(value: f64) -> String {
    let rounded = format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value);
    serde_json::Number::from_f64(rounded).map_or_else(|| "0".to_owned(), |it| it.to_string())
}
