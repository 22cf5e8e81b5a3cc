//! Finds texts by their paths in a JSON text.

use super::tokens::{JsonProblem, Kind, Token, Tokens};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A value that is not a text.
    NotText,
    /// A text.
    Text(String),
}

/// The value at each of `pointers` (RFC 6901). If an object has a name twice, the last one counts,
/// as for most programs. Reads the text once, however many pointers there are.
///
/// # Errors
///
/// The text cannot be read.
pub fn find_texts(
    json: &[u8],
    pointers: &[impl AsRef<str>],
    max_depth: usize,
) -> Result<Vec<Found>, JsonProblem> {
    let paths: Vec<_> = pointers.iter().map(|pointer| parts(pointer.as_ref())).collect();
    let mut search = Search::new(&paths);
    let mut tokens = Tokens::new(json, max_depth);
    while let Some(token) = tokens.read()? {
        search.take(token);
    }
    Ok(search.found)
}

fn parts(pointer: &str) -> Vec<String> {
    let unescaped = |part: &str| part.replace("~1", "/").replace("~0", "~");
    pointer.split('/').skip(1).map(unescaped).collect()
}

/// An open list or object.
struct Level {
    /// Of a list: the number of its next element.
    next: Option<usize>,
    /// The paths that lead through it.
    on: Vec<usize>,
}

struct Search<'p> {
    paths: &'p [Vec<String>],
    found: Vec<Found>,
    levels: Vec<Level>,
    /// The paths that lead through the field whose name was read last.
    named: Vec<usize>,
}

impl<'p> Search<'p> {
    fn new(paths: &'p [Vec<String>]) -> Self {
        let found = vec![Found::Nothing; paths.len()];
        Self { paths, found, levels: Vec::new(), named: Vec::new() }
    }

    fn take(&mut self, token: Token<'_>) {
        match token {
            Token::Key(name) => self.named = self.through(&name),
            Token::Close(_) => drop(self.levels.pop()),
            Token::Text(text) => {
                self.value(&Found::Text(text.into_owned()));
            }
            Token::Number(_) | Token::Word(_) => {
                self.value(&Found::NotText);
            }
            Token::Open(kind) => {
                let on = self.value(&Found::NotText);
                self.levels.push(Level { next: (kind == Kind::List).then_some(0), on });
            }
        }
    }

    /// Notes a value. Returns the paths that lead through it.
    fn value(&mut self, what: &Found) -> Vec<usize> {
        let depth = self.levels.len();
        let on = self.at_value();
        for &path in &on {
            let is_there = self.paths[path].len() == depth;
            self.found[path] = if is_there { what.clone() } else { Found::Nothing };
        }
        on
    }

    fn at_value(&mut self) -> Vec<usize> {
        let Some(level) = self.levels.last_mut() else { return (0..self.paths.len()).collect() };
        match &mut level.next {
            None => std::mem::take(&mut self.named),
            Some(next) => {
                let number = *next;
                *next += 1;
                if level.on.is_empty() { Vec::new() } else { self.through(&number.to_string()) }
            }
        }
    }

    /// The paths through the innermost list or object that go on with `name`.
    fn through(&self, name: &str) -> Vec<usize> {
        let Some(level) = self.levels.last() else { return Vec::new() };
        let depth = self.levels.len() - 1;
        let goes_on = |path: &&usize| self.paths[**path].get(depth).is_some_and(|p| p == name);
        level.on.iter().filter(goes_on).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, pointer: &str) -> Found {
        find_texts(json.as_bytes(), &[pointer], 100).unwrap().remove(0)
    }

    #[test]
    fn a_text_is_found_by_its_pointer() {
        let json = r#"{"a/b": ["x", {"~": "y"}], "n": 1e400, "d": {"": "z"}, "0": "w"}"#;
        for (pointer, text) in [("/a~1b/0", "x"), ("/a~1b/1/~0", "y"), ("/d/", "z"), ("/0", "w")] {
            assert_eq!(found(json, pointer), Found::Text(text.to_owned()), "{pointer}");
        }
        for pointer in ["/n", "/d", "/a~1b", "", "/a~1b/1"] {
            assert_eq!(found(json, pointer), Found::NotText, "{pointer}");
        }
        for pointer in ["/x", "/a~1b/2", "/a~1b/00", "/n/0", "/d/x", "/a~1b/0/0"] {
            assert_eq!(found(json, pointer), Found::Nothing, "{pointer}");
        }
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_one_counts() {
        assert_eq!(found(r#"{"a": "x", "a": "y"}"#, "/a"), Found::Text("y".to_owned()));
        assert_eq!(found(r#"{"a": {"b": "x"}, "a": {}}"#, "/a/b"), Found::Nothing);
        assert_eq!(found(r#"{"a": {"b": "x"}, "a": 1}"#, "/a/b"), Found::Nothing);
    }

    #[test]
    fn many_places_are_found_at_once() {
        let json = br#"{"a": ["x", "y"], "b": {"c": "z"}}"#;
        let all = find_texts(json, &["/a/1", "/b/c", "/a/0", "/b/c"], 100).unwrap();
        let texts = ["y", "z", "x", "z"].map(|text| Found::Text(text.to_owned()));
        assert_eq!(all, texts);
    }
}
