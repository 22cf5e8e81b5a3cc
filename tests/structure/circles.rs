//! Circles among files, and how to show one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::tree::Imports;

/// Files that import each other.
#[derive(Debug, PartialEq)]
pub(crate) struct Circle {
    /// A shortest way round: each imports the next, and the last one the first. With the names that it takes.
    pub(crate) way: Vec<(PathBuf, BTreeSet<String>)>,
    /// All files that reach each other, those on the way included.
    pub(crate) files: BTreeSet<PathBuf>,
}

/// The circles. Files that reach each other are one, however many ways there are among them.
pub(crate) fn find(imports: &Imports) -> Vec<Circle> {
    let reached: BTreeMap<_, _> =
        imports.keys().map(|file| (file, distances(imports, file))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for file in imports.keys() {
        let reaches_itself = reached[file].contains_key(file);
        if !reaches_itself || seen.contains(file) {
            continue;
        }
        let is_on_it = |other: &&PathBuf| {
            reached[*other].contains_key(file) && reached[file].contains_key(*other)
        };
        let files: BTreeSet<PathBuf> = imports.keys().filter(is_on_it).cloned().collect();
        seen.extend(files.iter().cloned());
        // The file with the shortest way back to itself.
        let first = files.iter().min_by_key(|file| reached[file][*file]).unwrap_or(file);
        circles.push(Circle { way: way_round(imports, first), files });
    }
    circles
}

/// The circles in words; nothing where there are none.
pub(crate) fn describe(circles: &[Circle]) -> String {
    let mut text = String::new();
    for circle in circles {
        let all = circle.files.len();
        let _written =
            writeln!(text, "\na circle of {} files, in a knot of {all}:", circle.way.len());
        let following = circle.way.iter().cycle().skip(1);
        for ((file, names), (next, _)) in circle.way.iter().zip(following) {
            let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let _written =
                writeln!(text, "  {} imports {names} of {}", file.display(), next.display());
        }
        if all > circle.way.len() {
            let files: Vec<_> =
                circle.files.iter().map(|file| file.display().to_string()).collect();
            let _written = writeln!(text, "  files of the knot: {}", files.join(", "));
        }
    }
    text
}

/// How many imports away each file is that can be reached from this one. Itself only where it can be.
fn distances<'a>(imports: &'a Imports, from: &PathBuf) -> BTreeMap<&'a PathBuf, usize> {
    let mut found = BTreeMap::new();
    let mut queue = VecDeque::from([(from, 0)]);
    while let Some((file, distance)) = queue.pop_front() {
        for next in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if !found.contains_key(next) {
                found.insert(next, distance + 1);
                queue.push_back((next, distance + 1));
            }
        }
    }
    found
}

/// A shortest way from a file back to itself.
fn way_round(imports: &Imports, first: &PathBuf) -> Vec<(PathBuf, BTreeSet<String>)> {
    let mut way = Vec::new();
    let mut file = first;
    loop {
        let away = |next: &PathBuf| {
            if next == first { Some(0) } else { distances(imports, next).get(first).copied() }
        };
        let nearest =
            imports[file].iter().filter_map(|(next, names)| Some((away(next)?, next, names)));
        let Some((left, next, names)) = nearest.min_by_key(|(away, ..)| *away) else {
            return way;
        };
        way.push((file.clone(), names.clone()));
        if left == 0 {
            return way;
        }
        file = next;
    }
}
