//! The reader and the search are tried on small trees that are made up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::circles::{self, Circle};
use crate::tree::Tree;

fn circles_of(files: &[(&str, &str)]) -> Vec<Circle> {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    circles::find(&Tree::read(&files, Path::new("src/lib.rs")).imports())
}

fn knots(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let name = |file: PathBuf| file.display().to_string();
    circles_of(files)
        .into_iter()
        .map(|circle| circle.files.into_iter().map(name).collect())
        .collect()
}

const PAIR: [&str; 2] = ["src/a.rs", "src/b.rs"];

#[test]
fn two_files_that_import_each_other_are_a_circle_however_they_name_each_other() {
    for (a, b) in [
        ("use crate::b::B; pub struct A;", "use super::a::A; pub struct B;"),
        ("use super::b; pub struct A; fn f() { b::g(); }", "fn g() -> crate::a::A { todo!() }"),
        ("use crate::{b::{self, B as C}}; pub struct A;", "pub struct B; impl super::a::A {}"),
        ("fn f() { log!(\"{}\", crate::b::B) }", "use super::a::{A as _};"),
        ("use crate::b::*;", "use crate::a::*;"),
        ("pub use crate::b::B; fn f() -> B { B }", "pub(crate) use crate::a::f; fn g() { f() }"),
        ("fn f(_: impl Sized + use<>) { super::b::g() }", "fn g() { crate::a::f(()) }"),
    ] {
        let files = [("src/lib.rs", "mod a; mod b;"), (PAIR[0], a), (PAIR[1], b)];
        assert_eq!(knots(&files), [PAIR], "{a} / {b}");
    }
}

#[test]
fn imports_that_run_one_way_are_no_circle() {
    for (a, b) in [
        ("use crate::b::B;", "pub struct B;"),
        ("use crate::b::B; pub struct A;", "#[cfg(test)] mod tests { use crate::a::A; }"),
        ("use crate::b::B; pub struct A;", "#[cfg(test)] use crate::a::A; pub struct B;"),
        ("use crate::b::B; pub struct A;", "/// See [`A`](crate::a::A).\npub struct B;"),
        (
            "use crate::b::B; pub struct A;",
            "pub struct B { a: u8 } fn f(b: B) { b.a; } // crate::a::A",
        ),
        ("use crate::b::B; pub struct A;", "pub(in crate::a) struct B;"),
        ("use crate::b::B; pub struct A;", "use a::A; pub struct B;"),
    ] {
        let files = [("src/lib.rs", "mod a; mod b;"), (PAIR[0], a), (PAIR[1], b)];
        assert_eq!(circles_of(&files), [], "{a} / {b}");
    }
}

#[test]
fn a_door_that_only_passes_names_on_ties_nothing_together() {
    let door =
        ("src/room/mod.rs", "mod a; mod b; pub use a::A; pub use self::b::{B, make as make_b};");
    let apart = [
        ("src/lib.rs", "pub mod room; mod user;"),
        door,
        ("src/room/a.rs", "pub struct A;"),
        ("src/room/b.rs", "use super::A; pub struct B; pub fn make(_: A) -> B { B }"),
        ("src/user.rs", "use crate::room; fn f(a: room::A) -> room::B { crate::room::make_b(a) }"),
    ];
    assert_eq!(circles_of(&apart), []);
    // Through the door, they import each other all the same.
    let tied = [
        ("src/lib.rs", "pub mod room;"),
        door,
        ("src/room/a.rs", "pub struct A; fn f(b: crate::room::B) {}"),
        ("src/room/b.rs", "use super::A; pub struct B; pub fn make(_: A) -> B { B }"),
    ];
    assert_eq!(knots(&tied), [["src/room/a.rs", "src/room/b.rs"]]);
}

#[test]
fn a_parent_and_its_child_are_a_circle_where_each_uses_the_other() {
    let root = ("src/lib.rs", "mod parent;");
    let child = ("src/parent/child.rs", "use super::Parent; pub struct Child; fn f(_: Parent) {}");
    for parent in [
        "mod child; use child::Child; pub struct Parent(Child);",
        "mod child; pub use child::Child; pub struct Parent(Child);",
        "mod child; pub struct Parent(child::Child);",
    ] {
        let files = [root, ("src/parent.rs", parent), child];
        assert_eq!(knots(&files), [["src/parent/child.rs", "src/parent.rs"]], "{parent}");
    }
    let passes_on = ("src/parent.rs", "mod child; pub use child::Child; pub struct Parent;");
    assert_eq!(circles_of(&[root, passes_on, child]), []);
}

#[test]
fn a_circle_is_shown_as_a_shortest_way_round_with_the_names_that_tie_it() {
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "use crate::b::{B, make}; pub struct A;"),
        ("src/b.rs", "use crate::c::C; pub struct B; pub fn make() {}"),
        ("src/c.rs", "use crate::{a::A, d::D}; pub struct C;"),
        ("src/d.rs", "use crate::c::C; pub struct D;"),
    ];
    let shown = "\na circle of 2 files, in a knot of 4:
  src/c.rs imports D of src/d.rs
  src/d.rs imports C of src/c.rs
  files of the knot: src/a.rs, src/b.rs, src/c.rs, src/d.rs\n";
    assert_eq!(circles::describe(&circles_of(&files)), shown);
    let three = [files[0], files[1], files[2], ("src/c.rs", "use crate::a::A;"), ("src/d.rs", "")];
    let shown = "\na circle of 3 files, in a knot of 3:
  src/a.rs imports B, make of src/b.rs
  src/b.rs imports C of src/c.rs
  src/c.rs imports A of src/a.rs\n";
    assert_eq!(circles::describe(&circles_of(&three)), shown);
}
