//! The recipe's text, and places in it. Not its job: reading files, and saying what is wrong at a place.

use std::ops::Range;

/// A place in a recipe: bytes `start..end` of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Span {
    /// The smallest place that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// A recipe's text and the name people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How errors call it: the path as it was given.
    pub name: String,
    /// Its text, without a byte order mark.
    pub text: String,
    /// The number of its first line; above 1 for a piece of another text.
    pub first_line: usize,
    /// Whether bytes were replaced that are no UTF-8.
    pub replaced: bool,
    /// Where its lines begin.
    starts: Vec<usize>,
}

impl Source {
    /// A recipe from its bytes. Each byte that is no UTF-8 becomes the replacement character, as in BuildKit's
    /// configs: old recipes have names in Latin-1, mostly in comments. Where that would change what is done it
    /// is refused (see `parse`).
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self {
            name: name.into(),
            text,
            first_line: 1,
            replaced: std::str::from_utf8(bytes).is_err(),
            starts,
        }
    }

    /// The number of the line that holds the byte `at`.
    pub fn line_number(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        self.first_line + self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The bytes of the line that holds the byte `at`, without its end.
    pub fn line_range(&self, at: usize) -> Range<usize> {
        let at = at.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= at) - 1;
        let start = self.starts[line];
        let end = self
            .starts
            .get(line + 1)
            .map_or(self.text.len(), |next| next - 1);
        let end = start + self.text[start..end].trim_end_matches('\r').len();
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_line_number_and_the_line_without_its_end() {
        let source = Source::new("f", b"\xef\xbb\xbfone\r\ntwo\nthree");
        assert_eq!(source.line_number(0), 1);
        assert_eq!(&source.text[source.line_range(1)], "one");
        let two = source.text.find("wo").unwrap();
        assert_eq!(source.line_number(two), 2);
        assert_eq!(&source.text[source.line_range(two)], "two");
        assert_eq!(&source.text[source.line_range(999)], "three");
    }

    #[test]
    fn each_byte_that_is_no_utf_8_becomes_one_character() {
        let source = Source::new("f", b"a\n# Jos\xe9\xff\xe2\x82 b");
        assert_eq!(source.text, "a\n# Jos\u{fffd}\u{fffd}\u{fffd}\u{fffd} b");
    }
}
