//! What one file says about others: the modules that it declares, the names that it imports, and the paths
//! that it uses. Code for tests is left out.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path such as `crate::job::Job`, one part an entry.
pub(crate) type ItemPath = Vec<String>;

/// A name that a file imports.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Import {
    pub(crate) path: ItemPath,
    /// Whether it only passes the name on (`pub use`).
    pub(crate) is_passed_on: bool,
}

/// What is read of one file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The modules that it declares, each in a file of its own.
    pub(crate) modules: Vec<String>,
    /// The names that it imports, by the name that they have here.
    pub(crate) imports: BTreeMap<String, Vec<Import>>,
    /// The modules of which it imports everything.
    pub(crate) globs: Vec<Import>,
    /// Every path that stands in the code outside of `use`.
    pub(crate) paths: Vec<ItemPath>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Panics
    ///
    /// Where the text is not Rust, or has a module in itself that is not for tests.
    pub(crate) fn read(name: &str, text: &str) -> Self {
        let stream: TokenStream =
            text.parse().unwrap_or_else(|error| panic!("{name} is not Rust: {error}"));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let mut source = Self::default();
        let mut tokens = Cursor { left: tokens.into_iter().peekable() };
        let mut before = Token::Other;
        let mut is_public = false;
        while let Some(token) = tokens.left.next() {
            let Token::Word(word) = &token else {
                is_public = false;
                before = token;
                continue;
            };
            match word.as_str() {
                "pub" => {
                    is_public = true;
                    tokens.skip_visibility();
                    continue;
                }
                // `use<'a>` in a type is no import.
                "use" if tokens.left.peek() != Some(&Token::Mark('<')) => {
                    tokens.imports(&[], is_public, &mut source);
                }
                "mod" => source.modules.push(tokens.module(name)),
                _ if before != Token::Mark('.') => {
                    let path = tokens.path(word.clone());
                    source.paths.push(path);
                }
                _ => {}
            }
            is_public = false;
            before = token;
        }
        source
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Mark(char),
    /// Between two parts of a path.
    Colons,
    Open(Delimiter),
    Close,
    Other,
}

/// Lays the tokens out one after the other, without what is only there in tests.
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    let mut colon = false;
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Punct(mark) if mark.as_char() == '#' && is_for_tests(trees.peek()) => {
                skip_item(&mut trees);
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                if colon {
                    tokens.push(Token::Colons);
                }
                colon = !colon && mark.spacing() == proc_macro2::Spacing::Joint;
                continue;
            }
            TokenTree::Punct(mark) => tokens.push(Token::Mark(mark.as_char())),
            TokenTree::Ident(word) => tokens.push(Token::Word(word.to_string())),
            TokenTree::Literal(_) => tokens.push(Token::Other),
            TokenTree::Group(group) => {
                tokens.push(Token::Open(group.delimiter()));
                flatten(group.stream(), tokens);
                tokens.push(Token::Close);
            }
        }
        colon = false;
    }
}

fn is_for_tests(attribute: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = attribute else { return false };
    group.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Skips an attribute and what it stands before: up to the end of its block, or its semicolon.
fn skip_item(trees: &mut impl Iterator<Item = TokenTree>) {
    for tree in trees {
        match tree {
            TokenTree::Punct(mark) if mark.as_char() == ';' => return,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            _ => {}
        }
    }
}

struct Cursor {
    left: Peekable<IntoIter<Token>>,
}

impl Cursor {
    fn take(&mut self, token: &Token) -> bool {
        self.left.next_if_eq(token).is_some()
    }

    fn word(&mut self) -> Option<String> {
        match self.left.next_if(|token| matches!(token, Token::Word(_))) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// What stands behind `pub` in parentheses.
    fn skip_visibility(&mut self) {
        if self.take(&Token::Open(Delimiter::Parenthesis)) {
            for token in self.left.by_ref() {
                if token == Token::Close {
                    return;
                }
            }
        }
    }

    fn module(&mut self, file: &str) -> String {
        let module = self.word().unwrap_or_default();
        assert!(self.take(&Token::Mark(';')), "{file} has the module {module} in itself");
        module
    }

    /// The rest of a path that begins with this word.
    fn path(&mut self, first: String) -> ItemPath {
        let mut path = vec![first];
        while self.take(&Token::Colons) {
            match self.word() {
                Some(word) => path.push(word),
                None => break,
            }
        }
        path
    }

    /// One branch of the tree of names behind `use`.
    fn imports(&mut self, stem: &[String], is_passed_on: bool, source: &mut Source) {
        let mut path = stem.to_vec();
        loop {
            if self.take(&Token::Open(Delimiter::Brace)) {
                while !self.take(&Token::Close) {
                    self.imports(&path, is_passed_on, source);
                    self.take(&Token::Mark(','));
                }
                return;
            }
            if self.take(&Token::Mark('*')) {
                source.globs.push(Import { path, is_passed_on });
                return;
            }
            match self.word() {
                Some(word) if word == "self" && !path.is_empty() => {}
                Some(word) => path.push(word),
                None if self.take(&Token::Colons) => continue,
                None => return,
            }
            if !self.take(&Token::Colons) {
                break;
            }
        }
        let renamed = if self.take(&Token::Word("as".to_owned())) { self.word() } else { None };
        if let Some(name) = renamed.or_else(|| path.last().cloned()) {
            source.imports.entry(name).or_default().push(Import { path, is_passed_on });
        }
    }
}
