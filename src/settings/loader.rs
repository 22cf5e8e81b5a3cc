//! From layers to sections: every value is checked, every mistake is kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::broker_url::{Flaw, flaw};
use super::kind::{self, Kind};
use super::layers::{Found, Layers, nearest};
use super::mistake::{Mistake, Origin, SettingsErrors};
use super::sources::Sources;
use super::table::{self, Fallback, Setting};

/// The settings before they are checked.
///
/// A command reads the sections that it needs; a section that it does not read cannot stop it.
pub struct Loader {
    layers: Layers,
    sources: Sources,
}

/// One setting and its effective value, for people to read.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value, masked if it is a secret; `None` if nothing is set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Loader {
    /// Reads the file, if there is one.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self { layers: Layers::of(&sources), sources }
    }

    /// Reads sections, or says everything that is wrong with them and with the file as a whole.
    pub fn read<'s, T>(
        &'s self,
        sections: impl FnOnce(&Reader<'s>) -> T,
    ) -> Result<T, SettingsErrors> {
        let reader = Reader { loader: self, mistakes: RefCell::new(self.layers.mistakes.clone()) };
        let read = sections(&reader);
        let mistakes = reader.mistakes.into_inner();
        if mistakes.is_empty() { Ok(read) } else { Err(SettingsErrors { mistakes }) }
    }

    /// The environment as it was given, for what is passed on to other programs.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.sources.variables
    }

    /// Whether someone set this variable or its key.
    #[must_use]
    pub fn is_set(&self, variable: &str) -> bool {
        let setting = table::ALL.iter().find(|setting| setting.variable == variable);
        let found = setting.and_then(|setting| self.layers.find(setting));
        found.is_some_and(|found| found.origin != Origin::Default)
    }

    /// Every setting with its effective value, right or wrong.
    pub fn effective(&self) -> impl Iterator<Item = Effective> {
        table::ALL.iter().map(|&setting| {
            let found = self.layers.find(setting);
            let origin = found.as_ref().map_or(Origin::Default, |found| found.origin.clone());
            let text = found.map(|found| found.text.unwrap_or_else(|shape| shape));
            Effective { setting, value: text.map(|text| setting.kind.shown(&text)), origin }
        })
    }
}

/// Reads sections. A wrong value is noted and replaced by an empty text or zero. Nobody sees these,
/// because [`Loader::read`] fails if anything was noted.
pub struct Reader<'a> {
    loader: &'a Loader,
    mistakes: RefCell<Vec<Mistake>>,
}

impl Reader<'_> {
    /// Notes a mistake, once: a section may be read twice.
    pub(super) fn mistake(&self, mistake: Mistake) {
        let mut mistakes = self.mistakes.borrow_mut();
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }

    /// A variable that is no setting of ours.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.loader.sources.variables.get(name).map(String::as_str)
    }

    /// Notes variables by which other programs call one of these settings.
    pub(super) fn refuse_other_spellings(&self) {
        for &(spelling, setting) in table::OTHER_SPELLINGS {
            if self.loader.sources.variables.contains_key(spelling) {
                self.mistake(Mistake::OtherSpelling { spelling, variable: setting.variable });
            }
        }
    }

    /// The value of a setting, if it has one and may have it.
    pub(super) fn optional(&self, setting: &'static Setting) -> Option<String> {
        let Some(Found { text, origin }) = self.loader.layers.find(setting) else {
            if setting.fallback == Fallback::Required {
                self.missing(setting);
            }
            return None;
        };
        if let Ok(text) = &text
            && setting.kind.allows(text)
        {
            return Some(text.clone());
        }
        let name = match origin {
            Origin::File(path) => {
                format!("{} ({} in {})", setting.variable, setting.key, path.display())
            }
            Origin::Default | Origin::Environment => setting.variable.to_owned(),
        };
        self.mistake(not_allowed(name, setting.kind, text));
        None
    }

    /// Whether somebody gave a value, right or wrong.
    pub(super) fn is_given(&self, setting: &'static Setting) -> bool {
        self.loader.is_set(setting.variable)
    }

    fn missing(&self, setting: &'static Setting) {
        let variables = self.loader.sources.variables.keys().map(String::as_str);
        let strangers = variables
            .filter(|name| table::ALL.iter().all(|setting| setting.variable != *name))
            .filter(|name| table::OTHER_SPELLINGS.iter().all(|(spelling, _)| spelling != name));
        let near = nearest(setting.variable, strangers);
        self.mistake(Mistake::Missing {
            variable: setting.variable,
            key: setting.key,
            allowed: setting.kind.allowed(),
            hint: near.map_or_else(String::new, |near| format!(" ({near} is set; a misspelling?)")),
        });
    }

    pub(super) fn text(&self, setting: &'static Setting) -> String {
        self.optional(setting).unwrap_or_default()
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, setting: &'static Setting) -> Option<T> {
        self.optional(setting)?.parse().ok()
    }

    pub(super) fn flag(&self, setting: &'static Setting) -> bool {
        self.optional(setting).and_then(|text| kind::boolean(&text)).unwrap_or_default()
    }

    /// A whole number, in bytes where the setting counts kilobytes or megabytes.
    pub(super) fn whole(&self, setting: &'static Setting) -> u64 {
        let factor = match setting.kind {
            Kind::Whole { unit, .. } => unit.factor(),
            _ => 1,
        };
        self.parsed::<u64>(setting).unwrap_or_default() * factor
    }

    pub(super) fn count(&self, setting: &'static Setting) -> usize {
        usize::try_from(self.whole(setting)).unwrap_or(usize::MAX)
    }

    pub(super) fn small(&self, setting: &'static Setting) -> u32 {
        u32::try_from(self.whole(setting)).unwrap_or(u32::MAX)
    }

    pub(super) fn seconds(&self, setting: &'static Setting) -> Duration {
        Duration::from_secs(self.whole(setting))
    }

    pub(super) fn list(&self, setting: &'static Setting) -> Vec<String> {
        let text = self.text(setting);
        kind::list(&text).map(str::to_owned).collect()
    }
}

/// What is wrong with a value that is not allowed.
fn not_allowed(name: String, kind: Kind, text: Result<String, String>) -> Mistake {
    let allowed = kind.allowed();
    let flaw = text.as_ref().ok().filter(|_| kind == Kind::AmqpUrl).and_then(|text| flaw(text));
    if let Some(Flaw { number, of, url, problem }) = flaw.filter(Flaw::needs_words) {
        let (url, problem) = (shortened(&url), problem.unwrap_or("is not the URL of a broker"));
        return Mistake::Url { name, number, of, url, problem, allowed };
    }
    let value = text.map_or_else(|shape| shape, |text| shortened(&kind.shown(&text)));
    Mistake::Value { name, value, allowed }
}

/// The longest value that a message shows, in characters.
const SHOWN: usize = 120;

fn shortened(value: &str) -> String {
    let mut short: String = value.chars().take(SHOWN).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}
