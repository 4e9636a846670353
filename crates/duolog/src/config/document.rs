//! Reads a TOML document section by section and collects every mistake, with its line, before
//! anything is refused.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use toml_edit::{Item, TableLike};

/// One mistake in a configuration: where it stands, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the file, from 1.
    pub line: usize,
    /// Key with its path, for example `user[0].repeat_tone`.
    pub key: String,
    /// What is wrong, and what is allowed there.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.what)
    }
}

/// The text of a configuration and the mistakes found in it so far.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    form: Form,
    mistakes: RefCell<Vec<Mistake>>,
}

/// In which words a mistake is told.
#[derive(Debug, Clone, Copy)]
enum Form {
    Toml,
    Json,
}

impl<'a> Source<'a> {
    /// A file.
    pub(super) fn toml(text: &'a str) -> Self {
        let (form, mistakes) = (Form::Toml, RefCell::default());
        Self {
            text,
            form,
            mistakes,
        }
    }

    /// A document that came as JSON: it has no lines.
    pub(super) fn json() -> Self {
        Self {
            form: Form::Json,
            ..Self::toml("")
        }
    }

    pub(super) fn line_of(&self, span: Option<Range<usize>>) -> usize {
        let end = span.map_or(0, |s| s.start.min(self.text.len()));
        1 + self.text.as_bytes()[..end]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
    }

    pub(super) fn mistake(&self, span: Option<Range<usize>>, key: String, what: String) {
        let line = self.line_of(span);
        self.mistakes.borrow_mut().push(Mistake { line, key, what });
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut all = self.mistakes.into_inner();
        all.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        all
    }
}

/// One table of the document. Each key that is read becomes known; [`Section::finish`] reports
/// the others.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    path: String,
    table: Option<&'a dyn TableLike>,
    span: Option<Range<usize>>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(source: &'a Source<'a>, table: &'a dyn TableLike) -> Self {
        Self {
            source,
            path: String::new(),
            table: Some(table),
            span: None,
            known: Vec::new(),
        }
    }

    /// The table `key`, or an empty one where it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let item = self.item(key);
        let table = item.and_then(Item::as_table_like);
        if let (Some(item), None) = (item, table) {
            let what = match self.source.form {
                Form::Toml => "must be a table",
                Form::Json => "must be an object",
            };
            self.source
                .mistake(item.span(), self.name(key), what.into());
        }
        self.child(self.name(key), table, item.and_then(Item::span))
    }

    /// The tables of the array `[[key]]`, or of a list `key = [{ ... }]`; none where it is absent.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(item) = self.item(key) else {
            return Vec::new();
        };
        let list = item.as_array().map(|array| array.iter().collect());
        let inline = |values: Vec<&'a toml_edit::Value>| -> Option<Vec<_>> {
            let table = |value: &'a toml_edit::Value| {
                Some((value.as_inline_table()? as &dyn TableLike, value.span()))
            };
            values.into_iter().map(table).collect()
        };
        let tables = item.as_array_of_tables().map(|array| {
            let table = |table: &'a toml_edit::Table| (table as &dyn TableLike, table.span());
            array.iter().map(table).collect()
        });
        let Some(tables) = tables.or_else(|| list.and_then(inline)) else {
            let what = match self.source.form {
                Form::Toml => {
                    let name = without_places(&self.name(key));
                    format!("must be written as [[{name}]] tables")
                }
                Form::Json => "must be a list of objects".into(),
            };
            self.source.mistake(item.span(), self.name(key), what);
            return Vec::new();
        };
        let child =
            |(n, (table, span))| self.child(format!("{}[{n}]", self.name(key)), Some(table), span);
        tables.into_iter().enumerate().map(child).collect()
    }

    /// A text value turned into `T`; `allowed` says what is, for the mistake. An absent key or a
    /// mistake gives `default`.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.optional(key, allowed, read).unwrap_or(default)
    }

    /// As [`Section::parsed`], `None` where the key is absent or mistaken.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key)?;
        let value = item.as_str().and_then(&read);
        if value.is_none() {
            let found = item.to_string();
            let what = format!("{} is not allowed; {allowed}", found.trim());
            self.source.mistake(item.span(), self.name(key), what);
        }
        value
    }

    /// A text that no mistake may show.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<String> {
        let item = self.item(key)?;
        let value = item.as_str().filter(|text| !text.is_empty());
        if value.is_none() {
            let what = "must be a text that is not empty".into();
            self.source.mistake(item.span(), self.name(key), what);
        }
        value.map(str::to_owned)
    }

    /// Whether the key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the key is written as a table.
    pub(super) fn holds_table(&self, key: &str) -> bool {
        let item = self.table.and_then(|table| table.get(key));
        item.is_some_and(Item::is_table_like)
    }

    /// As [`Section::optional`], and an absent key is a mistake.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.item(key).is_none() && self.table.is_some() {
            let what = format!("is missing; {allowed}");
            self.source.mistake(self.span.clone(), self.name(key), what);
        }
        self.optional(key, allowed, read)
    }

    /// A list of texts, each turned into `T`.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let Some(item) = self.item(key) else {
            return default;
        };
        let Some(array) = item.as_array() else {
            let what = format!("must be a list of texts; {allowed}");
            self.source.mistake(item.span(), self.name(key), what);
            return default;
        };
        self.elements(key, array, allowed, read)
    }

    /// One text or a list of texts.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let Some(item) = self.item(key) else {
            return default;
        };
        match item.as_array() {
            Some(array) => self.elements(key, array, allowed, read),
            None => self.optional(key, allowed, read).into_iter().collect(),
        }
    }

    fn elements<T>(
        &self,
        key: &'static str,
        array: &toml_edit::Array,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for element in array {
            match element.as_str().and_then(&read) {
                Some(value) => values.push(value),
                None => {
                    let what = format!("{} is not allowed; {allowed}", element.to_string().trim());
                    self.source.mistake(element.span(), self.name(key), what);
                }
            }
        }
        values
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> i64 {
        let Some(item) = self.item(key) else {
            return default;
        };
        match item.as_integer() {
            Some(value) if range.contains(&value) => value,
            _ => {
                let (low, high) = (range.start(), range.end());
                let what = format!(
                    "{} is outside {low}..{high}; write a whole number",
                    item.to_string().trim()
                );
                self.source.mistake(item.span(), self.name(key), what);
                default
            }
        }
    }

    /// A word of a closed list.
    pub(super) fn choice<T: Clone>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        self.chosen(key, words).unwrap_or(default)
    }

    /// A word of a closed list, `None` where the key is absent or mistaken.
    pub(super) fn chosen<T: Clone>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.optional(key, &one_of(words), |text| found(words, text))
    }

    /// As [`Section::chosen`], and an absent key is a mistake.
    pub(super) fn required_choice<T: Clone>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.required(key, &one_of(words), |text| found(words, text))
    }

    /// Says that what was read does not fit together.
    pub(super) fn refuse(&self, key: &str, what: String) {
        let span = self.table.and_then(|t| t.get(key)).and_then(Item::span);
        self.source
            .mistake(span.or_else(|| self.span.clone()), self.name(key), what);
    }

    /// Reports every key that nobody read, with the nearest name that exists.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, item) in table.iter() {
            if self.known.contains(&key) {
                continue;
            }
            let nearest = self
                .known
                .iter()
                .map(|k| (strsim::damerau_levenshtein(k, key), *k))
                .min();
            let hint = match nearest {
                Some((distance, name)) if distance <= 3 => format!("; did you mean {name}?"),
                _ => format!("; known here: {}", self.known.join(", ")),
            };
            let span = table
                .key(key)
                .and_then(|k| k.span())
                .or_else(|| item.span());
            self.source
                .mistake(span, self.name(key), format!("unknown key{hint}"));
        }
    }

    fn item(&mut self, key: &'static str) -> Option<&'a Item> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.and_then(|t| t.get(key))
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.into()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn child(
        &self,
        path: String,
        table: Option<&'a dyn TableLike>,
        span: Option<Range<usize>>,
    ) -> Section<'a> {
        Section {
            source: self.source,
            path,
            table,
            span,
            known: Vec::new(),
        }
    }
}

/// `user[0].do_not_record` as a header names it: `user.do_not_record`.
fn without_places(name: &str) -> String {
    let parts = name.split('.');
    let parts = parts.map(|part| part.split_once('[').map_or(part, |(name, _)| name));
    parts.collect::<Vec<_>>().join(".")
}

fn one_of<T>(words: &[(&str, T)]) -> String {
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    format!("one of {}", list.join(", "))
}

fn found<T: Clone>(words: &[(&str, T)], text: &str) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| value.clone())
}
