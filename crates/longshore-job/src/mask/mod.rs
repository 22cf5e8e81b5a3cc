//! Secrets are masked before a line, a sentence or a result goes anywhere. Pure.

mod shared;
mod texts;
mod view;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

pub use self::shared::Masks;
use self::texts::{Texts, open_end};
use self::view::{MAX_LAYERS, View, may_be_escaped};

/// What a log shows in place of a secret.
pub const MASKED: &str = "[masked]";

/// A longer text is searched in parts of this many bytes, because without its escapes it takes
/// several times as much. A part is longer than the longest secret with every character escaped in
/// each layer.
const MAX_PART_BYTES: usize = 256 << 10;

/// The secrets that nobody may see. It finds a secret as it is, and with its characters escaped: as
/// in JSON, in a URL, in HTML, or as languages write texts.
#[derive(Clone, Default)]
pub struct Mask(Option<Arc<Patterns>>);

/// What one or several masks look for.
pub(super) struct Patterns {
    finder: AhoCorasick,
    texts: Texts,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |patterns| patterns.texts.all.len());
        write!(f, "Mask({count} texts)")
    }
}

impl Patterns {
    fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let texts = Texts::of(secrets);
        if texts.all.is_empty() {
            return None;
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // By default it would take a kilobyte and more for each byte of a secret.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&texts.all);
        // It fails only for more text than a message can carry.
        finder.ok().map(|finder| Self { finder, texts })
    }

    /// Where secrets are in `text`, without escapes.
    fn spelled(&self, text: &[u8]) -> Vec<Range<usize>> {
        self.finder.find_iter(text).map(|found| found.range()).collect()
    }

    /// The text without one layer of escapes, without two, and so on.
    fn views(&self, text: &[u8]) -> Vec<View> {
        let has_spaces = self.texts.has_spaces;
        let mut views: Vec<View> = Vec::new();
        if !may_be_escaped(text, has_spaces) {
            return views;
        }
        while views.len() < MAX_LAYERS && views.last().is_none_or(|view| view.is_changed) {
            let next = match views.last() {
                None => View::of(text, has_spaces),
                Some(view) => view.again(has_spaces),
            };
            views.push(next);
        }
        views
    }

    /// Where secrets are in a part of a text, in order, without overlaps.
    fn places(&self, part: &[u8], views: &[View]) -> Vec<Range<usize>> {
        let mut places = self.spelled(part);
        for view in views.iter().filter(|view| view.is_changed) {
            places.extend(self.spelled(&view.bytes).into_iter().map(|range| view.source(range)));
        }
        if views.is_empty() {
            return places;
        }
        places.sort_by_key(|place| (place.start, place.end));
        places.into_iter().fold(Vec::new(), |mut apart: Vec<Range<usize>>, place| {
            match apart.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => apart.push(place),
            }
            apart
        })
    }

    /// How much of a part of a text may be shown before its rest is known.
    fn safe_end(&self, part: &[u8], places: &[Range<usize>]) -> usize {
        let mut end = part.len() - open_end(&self.texts.all, part);
        let has_spaces = self.texts.has_spaces;
        if may_be_escaped(part, has_spaces) {
            end = end.min(self.safe_in(View::of(part, has_spaces), MAX_LAYERS - 1));
        }
        // Never within a complete secret.
        let within = places.iter().find(|place| place.start < end && end < place.end);
        within.map_or(end, |place| place.end)
    }

    /// How much of a text may be shown, seen in this and further layers. The beginning of an escape
    /// at its end may become an escape or stay text: both are checked.
    fn safe_in(&self, view: View, layers: usize) -> usize {
        let mut end = view.place(view.bytes.len() - open_end(&self.texts.all, &view.bytes));
        if layers > 0 && view.is_changed {
            end = end.min(self.safe_in(view.again(self.texts.has_spaces), layers - 1));
        }
        match view.settled() {
            Some(settled) => end.min(self.safe_in(settled, layers)),
            None => end,
        }
    }

    /// Where secrets are in a text of any length.
    fn all_places(&self, text: &[u8]) -> Vec<Range<usize>> {
        if !may_be_escaped(text, self.texts.has_spaces) {
            return self.spelled(text);
        }
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let is_last = text.len() - from <= MAX_PART_BYTES;
            let part = &text[from..text.len().min(from + MAX_PART_BYTES)];
            let views = self.views(part);
            let places = self.places(part, &views);
            let end = if is_last { part.len() } else { self.safe_end(part, &places) };
            // A secret as long as a part does not delay the output.
            let end = if end == 0 { part.len() } else { end };
            let shown = places.into_iter().filter(|place| place.end <= end);
            all.extend(shown.map(|place| from + place.start..from + place.end));
            from += end;
            if is_last {
                return all;
            }
        }
    }
}

impl Mask {
    /// A mask over `secrets`.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Patterns::of(secrets).map(Arc::new))
    }

    /// Whether there is anything to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether `text` has a secret, in any form.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|patterns| !patterns.all_places(text).is_empty())
    }

    /// Where secrets are in `text`, byte for byte; not inside a mask.
    #[must_use]
    pub fn spelled_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        let found = self.0.as_ref().map(|patterns| patterns.spelled(text)).unwrap_or_default();
        found.into_iter().filter(|place| !is_within_mark(text, place)).collect()
    }

    /// Whether a number is a secret or contains one. This includes a secret that was a text, and
    /// that a program has read as a number and written again.
    #[must_use]
    pub fn is_in_number(&self, digits: &str) -> bool {
        self.0.as_ref().is_some_and(|patterns| {
            let texts = &patterns.texts;
            (texts.has_numbers && patterns.finder.is_match(digits))
                || (!texts.numbers.is_empty()
                    && digits
                        .parse()
                        .is_ok_and(|number: f64| texts.numbers.contains(&number.abs())))
        })
    }

    /// A sentence with every secret masked.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        // The mask is text, and a secret begins and ends with whole characters.
        String::from_utf8(self.apply(text.into_bytes())).unwrap_or_else(|_| MASKED.to_owned())
    }

    /// A line's text with every secret masked.
    #[must_use]
    pub fn apply(&self, text: Vec<u8>) -> Vec<u8> {
        let Some(patterns) = &self.0 else { return text };
        let places = patterns.all_places(&text);
        if places.is_empty() {
            return text;
        }
        let (mut masked, mut shown) = (Vec::with_capacity(text.len()), 0);
        for place in places {
            masked.extend_from_slice(&text[shown..place.start]);
            masked.extend_from_slice(MASKED.as_bytes());
            shown = place.end;
        }
        masked.extend_from_slice(&text[shown..]);
        masked
    }

    /// How much of an unfinished text may be shown now. Its end may be the beginning of a secret,
    /// or of an escape in a secret.
    #[must_use]
    pub fn safe_end(&self, text: &[u8]) -> usize {
        let Some(patterns) = &self.0 else { return text.len() };
        // Text further back than the longest secret does not matter.
        let from = text.len().saturating_sub(MAX_PART_BYTES);
        let part = &text[from..];
        let views = patterns.views(part);
        from + patterns.safe_end(part, &patterns.places(part, &views))
    }
}

/// Whether a position is within [`MASKED`].
fn is_within_mark(text: &[u8], place: &Range<usize>) -> bool {
    let mark = MASKED.as_bytes();
    let most = mark.len().saturating_sub(place.len());
    (0..=most).any(|before| {
        let begin = place.start.checked_sub(before);
        begin
            .is_some_and(|begin| text[begin..].starts_with(mark) && begin + mark.len() >= place.end)
    })
}

#[cfg(test)]
mod tests;
