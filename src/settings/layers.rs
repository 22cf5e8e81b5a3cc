//! The three layers of settings: defaults, the file, the environment. A later one wins.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Num, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::kind::Kind;
use super::mistake::{Mistake, Origin};
use super::sources::Sources;
use super::table::{self, Fallback, Setting};

const DEFAULTS: &str = "default";
const ENVIRONMENT: &str = "environment";

/// One layer, by the keys of the table.
struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::default().collect(self.dict.clone()))
    }
}

impl Layer {
    fn of_texts<'a>(name: &'static str, texts: impl Iterator<Item = (&'a str, String)>) -> Self {
        let mut dict = Dict::new();
        for (key, text) in texts {
            let Some((section, name)) = key.split_once('.') else {
                dict.insert(key.to_owned(), text.into());
                continue;
            };
            let section = dict.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, section) = section {
                section.insert(name.to_owned(), text.into());
            }
        }
        Self { metadata: Metadata::named(name), dict }
    }
}

/// The value of a setting as text, and where it comes from.
pub(super) struct Found {
    /// `Err` describes a value that is no text.
    pub(super) text: Result<String, String>,
    pub(super) origin: Origin,
}

/// All layers together.
pub(super) struct Layers {
    figment: Figment,
    /// What is wrong with the file as a whole.
    pub(super) mistakes: Vec<Mistake>,
}

impl Layers {
    pub(super) fn of(sources: &Sources) -> Self {
        let mut mistakes = Vec::new();
        let mut figment = Figment::from(defaults(&sources.host_name));
        if let Some(path) = &sources.file {
            figment = figment.merge(file(path, &mut mistakes));
        }
        Self { figment: figment.merge(environment(sources)), mistakes }
    }

    /// The effective value of a setting; `None` if there is none.
    pub(super) fn find(&self, setting: &Setting) -> Option<Found> {
        let value = self.figment.find_value(setting.key).ok()?;
        let metadata = self.figment.get_metadata(value.tag())?;
        let path = metadata.source.as_ref().and_then(|source| source.file_path());
        let origin = match path {
            Some(path) => Origin::File(path.to_owned()),
            None if metadata.name == DEFAULTS => Origin::Default,
            None => Origin::Environment,
        };
        let text = match value {
            Value::Array(..) if !setting.kind.is_list() => Err("a list".to_owned()),
            Value::Dict(_, table) if setting.kind == Kind::Runtimes => {
                serde_json::to_string(&table).map_err(|error| error.to_string())
            }
            value => text_of(&value),
        };
        Some(Found { text, origin })
    }
}

fn defaults(host_name: &str) -> Layer {
    let texts = table::ALL.iter().filter_map(|setting| match setting.fallback {
        Fallback::Value(text) => Some((setting.key, text.to_owned())),
        Fallback::HostName => Some((setting.key, host_name.to_owned())),
        Fallback::Required | Fallback::Unset(_) => None,
    });
    Layer::of_texts(DEFAULTS, texts)
}

/// The variables of the table. An empty one counts as not set, because Compose and similar tools
/// pass an empty text for a variable that they do not have.
fn environment(sources: &Sources) -> Layer {
    let texts = table::ALL.iter().filter_map(|setting| {
        let text = sources.variables.get(setting.variable).filter(|text| !text.is_empty())?;
        Some((setting.key, text.clone()))
    });
    Layer::of_texts(ENVIRONMENT, texts)
}

/// What the file says under the keys of the table; everything else in it is a mistake.
fn file(path: &Path, mistakes: &mut Vec<Mistake>) -> Layer {
    let metadata = Metadata::from("file", path);
    let mut bad = |problem: String| mistakes.push(Mistake::File { file: path.into(), problem });
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            bad(format!("cannot be read: {error}"));
            return Layer { metadata, dict: Dict::new() };
        }
    };
    let dict = match Toml::from_str::<Dict>(&text) {
        Ok(dict) => dict,
        Err(error) => {
            bad(format!("is not TOML: {}", without_excerpt(&error.to_string())));
            return Layer { metadata, dict: Dict::new() };
        }
    };
    Layer { metadata, dict: known(path, dict, mistakes) }
}

/// The parser's message without the line that it quotes, which may have a secret.
fn without_excerpt(message: &str) -> String {
    let lines = message.lines().filter(|line| !line.contains('|') && !line.is_empty());
    lines.collect::<Vec<_>>().join(": ")
}

fn known(path: &Path, dict: Dict, mistakes: &mut Vec<Mistake>) -> Dict {
    let mut unknown = |key: String| {
        let near = nearest(&key, table::ALL.iter().map(|setting| setting.key));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        mistakes.push(Mistake::UnknownKey { key, file: path.into(), hint });
    };
    let mut kept = Dict::new();
    for (section, value) in dict {
        let is_section = table::ALL.iter().any(|setting| setting.section() == section);
        let Value::Dict(tag, mut entries) = value else {
            unknown(section);
            continue;
        };
        if table::ALL.iter().any(|setting| setting.key == section) {
            // Its names are the operator's, and whoever reads it checks the rest.
            kept.insert(section, Value::Dict(tag, entries));
            continue;
        }
        if !is_section && entries.is_empty() {
            unknown(section);
            continue;
        }
        entries.retain(|name, _| {
            let key = format!("{section}.{name}");
            let is_known = table::ALL.iter().any(|setting| setting.key == key);
            if !is_known {
                unknown(key);
            }
            is_known
        });
        kept.insert(section, Value::Dict(tag, entries));
    }
    kept
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |other: &str| {
        let whole = strsim::normalized_damerau_levenshtein(name, other);
        whole.max(strsim::normalized_damerau_levenshtein(&bare(name), &bare(other)) - 0.05)
    };
    let scored = names.map(|other| (likeness(other), other));
    let (likeness, nearest) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness >= NEAR).then_some(nearest)
}

/// From this similarity on (1 means equal), a name counts as a misspelling of another.
const NEAR: f64 = 0.7;

/// A value as the environment would write it.
fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(_, text) => Ok(text.clone()),
        Value::Char(_, c) => Ok(c.to_string()),
        Value::Bool(_, flag) => Ok(flag.to_string()),
        Value::Num(_, number) => Ok(number_text(*number)),
        Value::Array(_, values) => {
            let parts: Result<Vec<_>, _> = values.iter().map(text_of).collect();
            parts.map(|parts| parts.join(","))
        }
        Value::Empty(..) => Err("nothing".to_owned()),
        Value::Dict(..) => Err("a table".to_owned()),
    }
}

fn number_text(number: Num) -> String {
    let whole = number.to_u128().map(|n| n.to_string());
    let whole = whole.or_else(|| number.to_i128().map(|n| n.to_string()));
    whole.unwrap_or_else(|| number.to_f64().map_or_else(String::new, |n| n.to_string()))
}
