//! What a sweep expands to: numbered patches.

use std::fmt::Write as _;

use super::key::KeyPath;
use super::range::Range;
use super::request::SampleAxis;
use super::sample;
use crate::json::JsonText;

/// The configs of a sweep, by number: each as what differs from the message's `config`. They are made
/// when they are asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Configs {
    /// Every combination; the last key changes fastest.
    Grid(Vec<(KeyPath, Values)>),
    /// These.
    List(Vec<JsonText>),
    /// Random ones.
    Sample {
        /// How many.
        n: u64,
        /// What they depend on.
        seed: u64,
        /// The key as it was written, where it leads, and from where its values come.
        keys: Vec<(String, KeyPath, SampleAxis)>,
    },
}

/// The values of one key of a grid.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// These.
    List(Vec<JsonText>),
    /// These numbers.
    Range(Range),
}

impl Values {
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::List(values) => values.len() as u64,
            Self::Range(range) => range.count(),
        }
    }

    fn text(&self, number: u64) -> String {
        match self {
            Self::List(values) => {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                values.get(number).map_or("null", JsonText::as_str).to_owned()
            }
            Self::Range(range) => range.text(number),
        }
    }

    fn most_bytes(&self) -> usize {
        match self {
            Self::List(values) => values.iter().map(|it| it.as_str().len()).max().unwrap_or(0),
            Self::Range(range) => range.most_bytes(),
        }
    }
}

impl Configs {
    /// How many there are; `None`: more than can be counted.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Grid(axes) => {
                axes.iter().try_fold(1_u64, |all, (_, values)| all.checked_mul(values.count()))
            }
            Self::List(patches) => Some(patches.len() as u64),
            Self::Sample { n, .. } => Some(*n),
        }
    }

    /// The most bytes that the patches have together.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        let names = |path: &KeyPath| path.0.iter().map(|name| 2 * name.len() + 8).sum::<usize>();
        let each: usize = match self {
            Self::List(patches) => {
                return patches.iter().map(|patch| patch.as_str().len() as u64 + 8).sum();
            }
            Self::Grid(axes) => {
                axes.iter().map(|(path, values)| names(path) + values.most_bytes()).sum()
            }
            Self::Sample { keys, .. } => {
                let most = |axis: &SampleAxis| match axis {
                    SampleAxis::Choice(values) => Values::List(values.clone()).most_bytes(),
                    _ => 24,
                };
                keys.iter().map(|(_, path, axis)| names(path) + most(axis)).sum()
            }
        };
        self.count().unwrap_or(u64::MAX).saturating_mul(each as u64 + 8)
    }

    /// What differs from the message's `config` in the config with this number, as JSON.
    #[must_use]
    pub fn patch(&self, index: u64) -> String {
        match self {
            Self::List(patches) => {
                let number = usize::try_from(index).unwrap_or(usize::MAX);
                patches.get(number).map_or("{}", JsonText::as_str).to_owned()
            }
            Self::Grid(axes) => {
                let mut rest = index;
                let mut texts: Vec<_> = Vec::with_capacity(axes.len());
                for (path, values) in axes.iter().rev() {
                    let count = values.count().max(1);
                    texts.push((path, values.text(rest % count)));
                    rest /= count;
                }
                texts.reverse();
                nested(texts)
            }
            Self::Sample { seed, keys, .. } => {
                let value = |(key, path, axis): &'_ (String, KeyPath, SampleAxis)| {
                    (path.clone(), sample::value(axis, *seed, index, key))
                };
                let texts: Vec<_> = keys.iter().map(value).collect();
                nested(texts.iter().map(|(path, text)| (path, text.clone())))
            }
        }
    }
}

/// A value, or the fields of an object.
enum Node {
    Value(String),
    Fields(Vec<(String, Node)>),
}

/// An object with these values at these places.
fn nested<'p>(values: impl IntoIterator<Item = (&'p KeyPath, String)>) -> String {
    let mut fields = Vec::new();
    for (path, text) in values {
        put(&mut fields, &path.0, text);
    }
    let mut out = String::new();
    write(&mut out, &Node::Fields(fields));
    out
}

fn put(fields: &mut Vec<(String, Node)>, path: &[String], text: String) {
    let [name, rest @ ..] = path else { return };
    if rest.is_empty() {
        return fields.push((name.clone(), Node::Value(text)));
    }
    let known = fields.iter_mut().position(|(known, _)| known == name);
    let at = known.unwrap_or_else(|| {
        fields.push((name.clone(), Node::Fields(Vec::new())));
        fields.len() - 1
    });
    if let Some((_, Node::Fields(inner))) = fields.get_mut(at) {
        put(inner, rest, text);
    }
}

fn write(out: &mut String, node: &Node) {
    match node {
        Node::Value(text) => out.push_str(text),
        Node::Fields(fields) => {
            out.push('{');
            for (number, (name, inner)) in fields.iter().enumerate() {
                let comma = if number > 0 { "," } else { "" };
                // Writing into a text cannot fail.
                let _infallible = write!(out, "{comma}{}:", serde_json::Value::from(name.as_str()));
                write(out, inner);
            }
            out.push('}');
        }
    }
}

/// The configs of a text with one on each line (JSON Lines). Empty lines do not count.
///
/// # Errors
/// What is wrong, and in which line.
pub fn read_lines(text: &[u8]) -> Result<Configs, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let read = lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(number, line)| {
        let patch =
            JsonText::read(line).map_err(|problem| format!("line {}: {problem}", number + 1))?;
        if !patch.as_str().starts_with('{') {
            return Err(format!("line {}: is not an object", number + 1));
        }
        Ok(patch)
    });
    let patches = read.collect::<Result<Vec<_>, _>>()?;
    if patches.is_empty() { Err("has no configs".to_owned()) } else { Ok(Configs::List(patches)) }
}
