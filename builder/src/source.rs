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
    /// Where its lines begin.
    starts: Vec<usize>,
}

impl Source {
    /// A recipe from its bytes.
    ///
    /// # Errors
    /// Says where the first byte is that is not UTF-8, or NUL.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            format!("line {line} is not UTF-8 text")
        })?;
        if let Some(at) = text.find('\0') {
            let line = 1 + text[..at].matches('\n').count();
            return Err(format!("line {line} holds a NUL byte"));
        }
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Ok(Self {
            name: name.into(),
            text,
            first_line: 1,
            starts,
        })
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
        let source = Source::new("f", b"\xef\xbb\xbfone\r\ntwo\nthree".to_vec()).unwrap();
        assert_eq!(source.line_number(0), 1);
        assert_eq!(&source.text[source.line_range(1)], "one");
        let two = source.text.find("wo").unwrap();
        assert_eq!(source.line_number(two), 2);
        assert_eq!(&source.text[source.line_range(two)], "two");
        assert_eq!(&source.text[source.line_range(999)], "three");
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        let fault = Source::new("f", b"a\nb\xff".to_vec()).unwrap_err();
        assert_eq!(fault, "line 2 is not UTF-8 text");
        let fault = Source::new("f", b"a\n\n\0".to_vec()).unwrap_err();
        assert_eq!(fault, "line 3 holds a NUL byte");
    }
}
