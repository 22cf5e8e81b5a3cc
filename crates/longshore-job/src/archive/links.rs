//! Symbolic links inside an archive. Each is replaced by what it points to. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use super::names::entry_path;
use super::{ArchiveCaps, ArchiveError, quoted};

/// The longest target of a link on Linux (`PATH_MAX`), in bytes.
pub(super) const MAX_TARGET_BYTES: usize = 4095;

/// How many links that lead to links are followed: as many as on Linux.
const MAX_HOPS: usize = 40;

/// What each entry is, by path. Every folder above an entry is included.
pub(super) type Nodes = BTreeMap<Rc<str>, Node>;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A folder.
    Directory,
    /// A file, and how many bytes its header declares.
    File(u64),
    /// A symbolic link, and its target.
    Link(String),
}

/// What replaces the links.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    /// Folders that the archive itself does not have.
    pub(super) directories: BTreeSet<String>,
    /// Where each further file goes, and which file it repeats.
    pub(super) files: Vec<LinkedFile>,
    /// Folders of packages that stay links.
    pub(super) packages: Vec<LinkedPackage>,
    /// Links that point to nothing, and their targets. On Linux they would exist and lead nowhere.
    pub(super) dangling: Vec<(String, String)>,
}

/// The file that replaces a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LinkedFile {
    pub(super) path: String,
    pub(super) to: Rc<str>,
    pub(super) bytes: u64,
}

/// A folder of the archive under another name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LinkedPackage {
    pub(super) path: String,
    /// The target as the link's own folder sees it.
    pub(super) target: String,
}

impl LinkedFile {
    /// Its text, if it stays a link.
    pub(super) fn to_own_place(&self) -> Option<String> {
        kept(&self.path, &self.to, false)
    }
}

/// Where Node.js looks for packages.
const NODE_MODULES: &str = "node_modules";

/// Where the links to their programs are.
const PROGRAMS: &str = "node_modules/.bin";

/// The text of the link `path` to the file or folder `to`, if it stays a link; `None` if it is
/// replaced.
///
/// Package managers of Node.js link programs to their packages, pnpm links each package to those
/// that it needs, and workspaces link their members. Node.js looks for packages next to the place
/// that a link leads to, so a copy would not find them.
pub(super) fn kept(path: &str, to: &str, is_folder: bool) -> Option<String> {
    let (folder, _) = path.rsplit_once('/')?;
    let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    let is = |place: &str, what: &str| {
        place.strip_suffix(what).is_some_and(|above| above.is_empty() || above.ends_with('/'))
    };
    // As in node_modules/@scope/name.
    let modules = if name.starts_with('@') { above } else { folder };
    let stays = if is_folder { is(modules, NODE_MODULES) } else { is(folder, PROGRAMS) };
    stays.then(|| "../".repeat(folder.split('/').count()) + to)
}

/// Where a link leads.
enum Found<'a> {
    File(&'a Rc<str>, u64),
    Directory(String),
    Nothing,
}

/// Replaces every link, or says which one cannot be.
pub(super) fn replace(nodes: &Nodes, caps: &ArchiveCaps) -> Result<Replaced, ArchiveError> {
    let mut replacing = Replacing { nodes, caps, replaced: Replaced::default() };
    for (path, node) in nodes {
        if let Node::Link(target) = node {
            replacing.link(path, path, target, &mut Vec::new())?;
        }
    }
    Ok(replacing.replaced)
}

struct Replacing<'a> {
    nodes: &'a Nodes,
    caps: &'a ArchiveCaps,
    replaced: Replaced,
}

impl Replacing<'_> {
    /// Puts the target of the link `link` at `at`. `within` are the folders that are being copied,
    /// one inside the other.
    fn link(
        &mut self,
        at: &str,
        link: &str,
        target: &str,
        within: &mut Vec<String>,
    ) -> Result<(), ArchiveError> {
        let found = find(self.nodes, link, target).map_err(|why| ArchiveError::bad(link, why))?;
        match found {
            Found::Nothing if at == link => {
                self.replaced.dangling.push((link.to_owned(), target.to_owned()));
            }
            Found::Nothing => {}
            Found::File(to, bytes) => self.file(at, to, bytes)?,
            Found::Directory(directory) => {
                let lies_in_it = directory.is_empty() || is_below(link, &directory);
                if let Some(target) = kept(at, &directory, true).filter(|_| !lies_in_it) {
                    return self.package(LinkedPackage { path: at.to_owned(), target });
                }
                if lies_in_it || within.contains(&directory) {
                    let problem = format!(
                        "is a symbolic link to {}, a folder that it lies in, which would never end",
                        quoted(target)
                    );
                    return Err(ArchiveError::bad(link, problem));
                }
                within.push(directory);
                self.directory(at, within)?;
                within.pop();
            }
        }
        Ok(())
    }

    /// Puts the last of the folders `within` at `at`, with everything in it.
    fn directory(&mut self, at: &str, within: &mut Vec<String>) -> Result<(), ArchiveError> {
        let nodes = self.nodes;
        let root = within.last().map(|directory| format!("{directory}/")).unwrap_or_default();
        self.add_directory(at)?;
        let below = nodes.range::<str, _>((Bound::Included(root.as_str()), Bound::Unbounded));
        for (path, node) in below.take_while(|(path, _)| path.starts_with(&root)) {
            let place = format!("{at}/{}", &path[root.len()..]);
            match node {
                Node::Directory => self.add_directory(&place)?,
                Node::File(bytes) => self.file(&place, path, *bytes)?,
                Node::Link(target) => self.link(&place, path, target, within)?,
            }
        }
        Ok(())
    }

    fn add_directory(&mut self, at: &str) -> Result<(), ArchiveError> {
        self.check(at)?;
        self.replaced.directories.insert(at.to_owned());
        let is_too_many = self.replaced.directories.len() > self.caps.max_entries;
        self.within_cap(is_too_many)
    }

    fn file(&mut self, at: &str, to: &Rc<str>, bytes: u64) -> Result<(), ArchiveError> {
        self.check(at)?;
        self.replaced.files.push(LinkedFile { path: at.to_owned(), to: Rc::clone(to), bytes });
        let is_too_many = self.replaced.files.len() > self.caps.max_entries;
        self.within_cap(is_too_many)
    }

    fn package(&mut self, package: LinkedPackage) -> Result<(), ArchiveError> {
        self.check(&package.path)?;
        self.replaced.packages.push(package);
        let is_too_many = self.replaced.packages.len() > self.caps.max_entries;
        self.within_cap(is_too_many)
    }

    fn within_cap(&self, is_too_many: bool) -> Result<(), ArchiveError> {
        if is_too_many { Err(ArchiveError::too_many(self.caps)) } else { Ok(()) }
    }

    /// The place of a copy must follow the rules for every name.
    fn check(&self, at: &str) -> Result<(), ArchiveError> {
        entry_path(at, self.caps).map(drop).map_err(|problem| ArchiveError::bad(at, problem))
    }
}

/// Whether a path is in a folder, at any depth.
fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Follows a link as Linux does, part by part.
fn find<'a>(nodes: &'a Nodes, link: &str, target: &str) -> Result<Found<'a>, String> {
    let mut place = link.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
    let mut to_do = Vec::new();
    let mut hops = 0;
    follow(target, &mut to_do)?;
    while let Some(part) = to_do.pop() {
        if part == ".." {
            if place.is_empty() {
                let target = quoted(target);
                return Err(format!(
                    "is a symbolic link to {target}, which is outside the archive"
                ));
            }
            place.truncate(place.rfind('/').unwrap_or_default());
            continue;
        }
        let child = if place.is_empty() { part } else { format!("{place}/{part}") };
        match nodes.get_key_value(child.as_str()) {
            Some((_, Node::Directory)) => place = child,
            Some((path, Node::File(bytes))) if to_do.is_empty() => {
                return Ok(Found::File(path, *bytes));
            }
            // A file is not a folder.
            None | Some((_, Node::File(_))) => return Ok(Found::Nothing),
            Some((_, Node::Link(next))) => {
                hops += 1;
                if hops > MAX_HOPS {
                    let target = quoted(target);
                    return Err(format!("is a symbolic link to {target}, which leads in a circle"));
                }
                follow(next, &mut to_do)?;
            }
        }
    }
    Ok(Found::Directory(place))
}

/// Puts the parts of a link's target before those that are still to be followed.
fn follow(target: &str, to_do: &mut Vec<String>) -> Result<(), String> {
    if target.starts_with('/') {
        let target = quoted(target);
        return Err(format!(
            "is a symbolic link to {target}, an absolute path outside the archive"
        ));
    }
    let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
    to_do.extend(parts.rev().map(str::to_owned));
    Ok(())
}

#[cfg(test)]
mod tests;
