//! The series of one attempt, within bounds: a long series is thinned out evenly, and its newest point always stays.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::point::{At, Measured, PROGRESS_SERIES, Point};
use crate::ProgramProgress;

/// How many series there may be, and how many points of each are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesBounds {
    /// Series of one attempt.
    pub max_names: usize,
    /// Points of each.
    pub max_points: usize,
}

/// A series in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesSummary {
    /// Its name.
    pub name: String,
    /// How many points there were.
    pub points: u64,
    /// The newest.
    pub last: f64,
}

/// What became of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Its series has it, or is thinned out.
    Taken,
    /// It would begin one series too many.
    LeftOut,
    /// It was stored before.
    Known,
}

/// The series of one attempt.
#[derive(Debug)]
pub struct Book {
    bounds: SeriesBounds,
    series: Vec<Series>,
    /// How many points were left out because there are too many series.
    left_out: u64,
    /// What was written until then has been stored before.
    known_until: Option<Timestamp>,
    has_changed: bool,
}

#[derive(Debug)]
struct Series {
    name: String,
    /// Every `stride`th point.
    kept: Vec<Mark>,
    stride: u64,
    seen: u64,
    /// The newest point, where it is not among them.
    newest: Option<Mark>,
    text: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    n: u64,
    value: f64,
    at: Option<At>,
    time: Timestamp,
}

impl Book {
    /// An empty one.
    #[must_use]
    pub fn new(bounds: SeriesBounds) -> Self {
        Self { bounds, series: Vec::new(), left_out: 0, known_until: None, has_changed: false }
    }

    /// Continues with what was stored. Points that are not newer count as known.
    pub fn restore(&mut self, points: Vec<Point>) {
        self.known_until = points.iter().map(|point| point.time).max();
        for Point { name, n, value, at, time, text } in points {
            let index = self.series.iter().position(|series| series.name == name);
            let index = index.unwrap_or_else(|| {
                self.series.push(Series::new(name));
                self.series.len() - 1
            });
            let series = &mut self.series[index];
            series.kept.push(Mark { n, value, at, time });
            series.text = text;
        }
        let most = self.bounds.max_points;
        self.series.iter_mut().for_each(|series| series.settle(most));
    }

    /// Adds what a program measured.
    pub fn measure(&mut self, measured: Measured, time: Timestamp) -> Taken {
        let Measured { name, value, at } = measured;
        self.add(&name, (value, at), None, time)
    }

    /// Adds how far a program says that it is.
    pub fn progress(&mut self, progress: &ProgramProgress, time: Timestamp) -> Taken {
        self.add(PROGRESS_SERIES, (progress.percent, None), progress.text.clone(), time)
    }

    fn add(
        &mut self,
        name: &str,
        (value, at): (f64, Option<At>),
        text: Option<String>,
        time: Timestamp,
    ) -> Taken {
        if self.known_until.is_some_and(|known| time <= known) {
            return Taken::Known;
        }
        let most = self.bounds.max_points;
        let index = self.series.iter().position(|series| series.name == name);
        if index.is_none() {
            // Progress is one value, and has a place of its own.
            let others = self.series.iter().filter(|series| series.name != PROGRESS_SERIES);
            if name != PROGRESS_SERIES && others.count() >= self.bounds.max_names {
                self.left_out += 1;
                return Taken::LeftOut;
            }
            self.series.push(Series::new(name.to_owned()));
        }
        let index = index.unwrap_or(self.series.len() - 1);
        self.series[index].add(value, at, text, time, most);
        self.has_changed = true;
        Taken::Taken
    }

    /// Whether something was added since it was last asked for [`lines`](Self::lines).
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Whether there is any series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// How many points there were.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.series.iter().map(|series| series.seen).sum()
    }

    /// Everything that is kept, as JSON Lines, one series after the other.
    pub fn lines(&mut self) -> Vec<u8> {
        self.has_changed = false;
        let mut text = Vec::new();
        for point in self.series.iter().flat_map(Series::points) {
            // A point is text and finite numbers, so it is JSON.
            if serde_json::to_writer(&mut text, &point).is_ok() {
                text.push(b'\n');
            }
        }
        text
    }

    /// Notes that what [`lines`](Self::lines) gave was not stored.
    pub fn not_stored(&mut self) {
        self.has_changed = true;
    }

    /// Each series in short.
    #[must_use]
    pub fn summary(&self) -> Vec<SeriesSummary> {
        let short = |series: &Series| {
            let last = series.newest.or(series.kept.last().copied())?.value;
            Some(SeriesSummary { name: series.name.clone(), points: series.seen, last })
        };
        self.series.iter().filter_map(short).collect()
    }

    /// A sentence, if not every point is kept.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let SeriesBounds { max_names, max_points } = self.bounds;
        let thinned = self.series.iter().find(|series| series.stride > 1).map(|series| {
            format!(
                "{} has {} points, and one in {} is kept (SERIES_MAX_POINTS={max_points})",
                series.name, series.seen, series.stride
            )
        });
        let left_out = (self.left_out > 0).then(|| {
            let count = self.left_out;
            format!("{count} points of further series are left out (SERIES_MAX_NAMES={max_names})")
        });
        let all: Vec<_> = thinned.into_iter().chain(left_out).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Series {
    fn new(name: String) -> Self {
        Self { name, kept: Vec::new(), stride: 1, seen: 0, newest: None, text: None }
    }

    fn add(
        &mut self,
        value: f64,
        at: Option<At>,
        text: Option<String>,
        time: Timestamp,
        most: usize,
    ) {
        let mark = Mark { n: self.seen, value, at, time };
        self.seen += 1;
        self.text = text;
        if mark.n.is_multiple_of(self.stride) && self.kept.len() >= self.room(most) {
            self.thin_out();
        }
        if mark.n.is_multiple_of(self.stride) {
            self.kept.push(mark);
            self.newest = None;
        } else {
            self.newest = Some(mark);
        }
    }

    /// How many points are kept in `kept`: of a series that is thinned out, the newest has a place of its own.
    fn room(&self, most: usize) -> usize {
        if self.stride > 1 { most.saturating_sub(1).max(1) } else { most }
    }

    fn thin_out(&mut self) {
        self.stride *= 2;
        let stride = self.stride;
        self.kept.retain(|mark| mark.n.is_multiple_of(stride));
    }

    /// Finds out what the points say that were read from the store.
    fn settle(&mut self, most: usize) {
        let Some((last, before)) = self.kept.split_last() else { return };
        self.seen = last.n + 1;
        let zeros = before.iter().filter(|mark| mark.n > 0).map(|mark| mark.n.trailing_zeros());
        self.stride = zeros.min().map_or(1, |zeros| 1 << zeros);
        if !last.n.is_multiple_of(self.stride) {
            self.newest = self.kept.pop();
        }
        while self.kept.len() > self.room(most) {
            let last = self.kept.last().copied();
            self.thin_out();
            if self.newest.is_none() && self.kept.last().map(|mark| mark.n) != last.map(|l| l.n) {
                self.newest = last;
            }
        }
    }

    fn points(&self) -> impl Iterator<Item = Point> {
        let last = self.seen.saturating_sub(1);
        self.kept.iter().chain(&self.newest).map(move |mark| Point {
            name: self.name.clone(),
            n: mark.n,
            value: mark.value,
            at: mark.at,
            time: mark.time,
            text: self.text.clone().filter(|_| mark.n == last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_points;
    use super::*;

    const BOUNDS: SeriesBounds = SeriesBounds { max_names: 2, max_points: 5 };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
    }

    fn add(book: &mut Book, name: &str, number: u64) -> Taken {
        #[allow(clippy::cast_precision_loss, reason = "they are small")]
        let value = number as f64;
        book.measure(Measured { name: name.to_owned(), value, at: None }, at(number))
    }

    fn add_all(book: &mut Book, count: u64) {
        for number in 1..=count {
            add(book, "a", number);
        }
    }

    fn kept(book: &mut Book, name: &str) -> Vec<u64> {
        let points = read_points(&book.lines());
        points.iter().filter(|point| point.name == name).map(|point| point.n).collect()
    }

    #[test]
    fn a_series_is_whole_up_to_its_bound_and_thinned_out_evenly_beyond() {
        let mut book = Book::new(BOUNDS);
        add_all(&mut book, 5);
        assert_eq!((kept(&mut book, "a"), book.problem()), (vec![0, 1, 2, 3, 4], None));
        add(&mut book, "a", 6);
        assert_eq!(kept(&mut book, "a"), [0, 2, 4, 5]);
        for number in 7..=1001 {
            add(&mut book, "a", number);
            let kept = kept(&mut book, "a");
            assert!(kept.len() <= BOUNDS.max_points, "{kept:?}");
            assert_eq!(kept.last(), Some(&(number - 1)), "the newest stays");
        }
        assert_eq!(kept(&mut book, "a"), [0, 256, 512, 768, 1000]);
        let said = "a has 1001 points, and one in 256 is kept (SERIES_MAX_POINTS=5)";
        assert_eq!(book.problem().as_deref(), Some(said));
        let summary = SeriesSummary { name: "a".to_owned(), points: 1001, last: 1001.0 };
        assert_eq!(book.summary(), [summary]);
    }

    #[test]
    fn one_series_too_many_is_left_out_and_counted() {
        let mut book = Book::new(BOUNDS);
        for (name, taken) in [
            ("a", Taken::Taken),
            ("b", Taken::Taken),
            ("c", Taken::LeftOut),
            ("a", Taken::Taken),
            ("d", Taken::LeftOut),
        ] {
            assert_eq!(add(&mut book, name, 1), taken, "{name}");
        }
        let progress = ProgramProgress::said_in("::longshore progress 37 half").unwrap();
        assert_eq!(book.progress(&progress, at(2)), Taken::Taken);
        let said = "2 points of further series are left out (SERIES_MAX_NAMES=2)";
        assert_eq!(book.problem().as_deref(), Some(said));
        let last = read_points(&book.lines()).pop().unwrap();
        assert_eq!((last.name.as_str(), last.value), ("progress", 37.0));
        assert_eq!(last.text.as_deref(), Some("half"));
    }

    #[test]
    fn what_was_stored_goes_on_as_if_nothing_had_happened() {
        for stored in 0..=70 {
            let (mut whole, mut first) = (Book::new(BOUNDS), Book::new(BOUNDS));
            add_all(&mut first, stored);
            let mut second = Book::new(BOUNDS);
            second.restore(read_points(&first.lines()));
            assert!(!second.has_changed());
            for number in 1..=100 {
                add(&mut whole, "a", number);
                let taken = add(&mut second, "a", number);
                let expected = if number <= stored { Taken::Known } else { Taken::Taken };
                assert_eq!(taken, expected, "{number} of {stored}");
            }
            assert_eq!(second.summary(), whole.summary());
            assert_eq!(second.seen(), 100);
            assert_eq!(kept(&mut second, "a"), kept(&mut whole, "a"), "after {stored}");
        }
    }

    #[test]
    fn a_lower_bound_thins_out_what_was_stored() {
        let mut first = Book::new(SeriesBounds { max_names: 2, max_points: 100 });
        add_all(&mut first, 60);
        let mut second = Book::new(BOUNDS);
        second.restore(read_points(&first.lines()));
        assert_eq!(kept(&mut second, "a"), [0, 16, 32, 48, 59]);
    }
}
