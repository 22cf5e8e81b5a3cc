//! The modules of a crate, and which file takes which names of which other.
//!
//! A name counts for the file that defines it, however many doors (`mod.rs`) pass it on: so a door that only
//! passes names on ties nothing together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{Import, Source};

/// For each file, the files that it imports, and the names that it takes of each.
pub(crate) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// How many doors a name may pass.
const MOST_DOORS: usize = 16;

/// The modules of a crate.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The root comes first.
    modules: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    file: PathBuf,
    parent: usize,
    children: BTreeMap<String, usize>,
    source: Source,
}

impl Tree {
    /// Reads the modules that can be reached from the file `entry`.
    ///
    /// # Panics
    ///
    /// Where a module has no file.
    pub(crate) fn read(files: &BTreeMap<PathBuf, String>, entry: &Path) -> Self {
        let mut tree = Self { modules: Vec::new() };
        tree.add(files, entry.to_owned(), 0);
        tree
    }

    fn add(&mut self, files: &BTreeMap<PathBuf, String>, file: PathBuf, parent: usize) -> usize {
        let source = Source::read(&file.display().to_string(), &files[&file]);
        let names = source.modules.clone();
        let index = self.modules.len();
        let folder = folder_of(&file);
        self.modules.push(Module { file, parent, children: BTreeMap::new(), source });
        for name in names {
            let places = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            let place = places.iter().find(|place| files.contains_key(*place));
            let place = place
                .unwrap_or_else(|| panic!("no file for the module {name} in {}", folder.display()));
            let child = self.add(files, place.clone(), index);
            self.modules[index].children.insert(name, child);
        }
        index
    }

    /// Which file imports which.
    pub(crate) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (index, module) in self.modules.iter().enumerate() {
            let source = &module.source;
            let taken = source.imports.values().flatten().chain(&source.globs);
            let by_use = taken.filter(|import| !import.is_passed_on).map(|import| &import.path);
            let of_this = imports.entry(module.file.clone()).or_default();
            for path in by_use.chain(source.paths.iter().filter(|path| module.may_name(path))) {
                if let Some((file, name)) = self.definition(index, path, 0)
                    && *file != module.file
                {
                    of_this.entry(file.clone()).or_default().insert(name.to_owned());
                }
            }
        }
        imports
    }

    /// The file that defines what a path in this module names, and the name; `None` where that is another
    /// crate's.
    fn definition<'a>(
        &'a self,
        module: usize,
        path: &'a [String],
        doors: usize,
    ) -> Option<(&'a PathBuf, &'a str)> {
        let (first, rest) = path.split_first()?;
        let here = &self.modules[module];
        match first.as_str() {
            "crate" => self.below(0, rest, doors),
            "self" => self.below(module, rest, doors),
            "super" => self.above(here.parent, rest, doors),
            _ if here.source.imports.contains_key(first) || here.children.contains_key(first) => {
                self.below(module, path, doors)
            }
            _ => None,
        }
    }

    fn above<'a>(
        &'a self,
        module: usize,
        path: &'a [String],
        doors: usize,
    ) -> Option<(&'a PathBuf, &'a str)> {
        match path.split_first() {
            Some((first, rest)) if first == "super" => {
                self.above(self.modules[module].parent, rest, doors)
            }
            _ => self.below(module, path, doors),
        }
    }

    /// The same, of a path that begins in this module.
    fn below<'a>(
        &'a self,
        module: usize,
        path: &'a [String],
        doors: usize,
    ) -> Option<(&'a PathBuf, &'a str)> {
        let here = &self.modules[module];
        let Some((first, rest)) = path.split_first() else {
            return Some((&here.file, "itself"));
        };
        if let Some(child) = here.children.get(first) {
            return self.below(*child, rest, doors);
        }
        if doors == MOST_DOORS {
            return None;
        }
        if let Some(imported) = here.source.imports.get(first) {
            // A name may be imported twice, as a type and as a macro: what is ours counts.
            return imported.iter().find_map(|import| self.passed(module, import, rest, doors));
        }
        let behind = here.source.globs.iter().find_map(|glob| self.module(module, &glob.path));
        match behind {
            Some(other) if other != module && self.modules[other].knows(first) => {
                self.below(other, path, doors + 1)
            }
            _ => Some((&here.file, first)),
        }
    }

    /// What an import of this module names, or what `rest` names in it.
    fn passed<'a>(
        &'a self,
        module: usize,
        import: &'a Import,
        rest: &'a [String],
        doors: usize,
    ) -> Option<(&'a PathBuf, &'a str)> {
        match self.module(module, &import.path) {
            Some(other) => self.below(other, rest, doors + 1),
            None => self.definition(module, &import.path, doors + 1),
        }
    }

    /// The module that a path names, where it names one by its own name.
    fn module(&self, from: usize, path: &[String]) -> Option<usize> {
        let mut module = from;
        for (position, part) in path.iter().enumerate() {
            module = match part.as_str() {
                "crate" if position == 0 => 0,
                "self" if position == 0 => from,
                "super" => self.modules[module].parent,
                _ => *self.modules[module].children.get(part)?,
            };
        }
        Some(module)
    }
}

impl Module {
    /// Whether a path in the code can name something of another file. A single word does only where this
    /// file passes that name on: other imports count by themselves.
    fn may_name(&self, path: &[String]) -> bool {
        match path {
            [only] => self
                .source
                .imports
                .get(only)
                .is_some_and(|imports| imports.iter().any(|import| import.is_passed_on)),
            _ => true,
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.children.contains_key(name) || self.source.imports.contains_key(name)
    }
}

/// Where the modules that a file declares have their files.
fn folder_of(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default();
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    if ["mod", "lib", "main"].iter().any(|door| stem == *door) { folder } else { folder.join(stem) }
}
