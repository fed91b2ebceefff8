//! Which words of a line announce a heredoc, and what their bodies become. Not its job: collecting the
//! bodies (see `lines`).

/// `<<NAME`: a text in the recipe itself, up to a line that holds just the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The name, unquoted: the terminator, and the file's name in COPY.
    pub name: String,
    /// Whether variables in the body are expanded (in COPY): no part of the name was quoted.
    pub expand: bool,
    /// `<<-`: leading tabs of the body and of the terminator do not count.
    pub strip_tabs: bool,
    /// The lines up to the terminator, with their ends.
    pub body: String,
}

impl Heredoc {
    /// The heredoc that a whole shell word announces; `None` if it announces none.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix("<<")?;
        let (strip_tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start();
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let (name, quoted) = unquoted(rest)?;
        Some(Self {
            name,
            expand: !quoted,
            strip_tabs,
            body: String::new(),
        })
    }

    /// The heredocs that a line announces, in order. A line whose quotes do not close announces none:
    /// it is the shell's business.
    pub(crate) fn of_line(line: &str) -> Vec<Self> {
        if !line.contains("<<") {
            return Vec::new();
        }
        shell_words(line)
            .unwrap_or_default()
            .iter()
            .filter_map(|word| Self::of_word(word))
            .collect()
    }

    /// The body as the file or the script gets it.
    pub(crate) fn content(&self) -> String {
        if !self.strip_tabs {
            return self.body.clone();
        }
        self.body
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }

    /// Whether a line of the recipe (without its end) ends this heredoc.
    pub(crate) fn ends_at(&self, line: &str) -> bool {
        let line = if self.strip_tabs {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }
}

/// The words of a line as a shell splits them, quotes and escapes kept; `<<` and the blanks after it
/// belong to the word that follows. `None` if a quote does not close.
fn shell_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            '\\' => {
                word.push(c);
                word.extend(chars.next());
            }
            '\'' | '"' => {
                word.push(c);
                loop {
                    let inner = chars.next()?;
                    word.push(inner);
                    if inner == '\\' && c == '"' {
                        word.extend(chars.next());
                    } else if inner == c {
                        break;
                    }
                }
            }
            '<' if chars.peek() == Some(&'<') => {
                word.push('<');
                word.extend(chars.next());
                word.extend(chars.next_if_eq(&'-'));
                while let Some(blank) = chars.next_if(|c| c.is_whitespace()) {
                    word.push(blank);
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    Some(words)
}

/// One word without its quotes and escapes, and whether there were quotes. `None` if it is more than
/// one word or a quote does not close.
fn unquoted(word: &str) -> Option<(String, bool)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.extend(chars.next()),
            '\'' | '"' => {
                quoted = true;
                loop {
                    match chars.next()? {
                        inner if inner == c => break,
                        '\\' if c == '"' => match chars.next()? {
                            escaped @ ('"' | '$' | '\\') => name.push(escaped),
                            other => name.extend(['\\', other]),
                        },
                        inner => name.push(inner),
                    }
                }
            }
            c if c.is_whitespace() => return None,
            c => name.push(c),
        }
    }
    Some((name, quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<String> {
        Heredoc::of_line(line).into_iter().map(|h| h.name).collect()
    }

    #[test]
    fn words_that_announce_a_heredoc() {
        for (line, name) in [
            ("RUN <<EOF", "EOF"),
            ("RUN 3<<EOF cat", "EOF"),
            ("RUN <<  EOF > f", "EOF"),
            ("RUN <<- EOF", "EOF"),
            ("RUN << -EOF", "-EOF"),
            ("COPY <<file.txt /d", "file.txt"),
            ("RUN <<eo\\'f", "eo'f"),
            ("RUN <<'one two'", "one two"),
            ("RUN <<$EOF", "$EOF"),
        ] {
            assert_eq!(names(line), [name], "{line}");
        }
        assert_eq!(names("COPY <<A <<\"B\" /d"), ["A", "B"]);
    }

    #[test]
    fn words_that_announce_none() {
        for line in [
            "RUN \"<<EOF\"",
            "RUN cat <<<EOF",
            "RUN <<",
            "RUN echo it's <<EOF",
            "RUN a < b",
        ] {
            assert!(names(line).is_empty(), "{line}");
        }
        assert_eq!(Heredoc::of_word("<<EOF cat"), None);
    }

    #[test]
    fn any_quote_in_the_name_stops_expansion() {
        for (word, expand) in [
            ("<<EOF", true),
            ("<<\"EOF\"", false),
            ("<<eo'f'", false),
            ("<<eo\\'f", true),
        ] {
            assert_eq!(Heredoc::of_word(word).unwrap().expand, expand, "{word}");
        }
    }

    #[test]
    fn a_dash_strips_tabs_but_no_blanks() {
        let mut heredoc = Heredoc::of_word("<<-E").unwrap();
        heredoc.body = "\t\ta\n \tb\n".to_owned();
        assert_eq!(heredoc.content(), "a\n \tb\n");
        assert!(heredoc.ends_at("\tE"));
        assert!(!heredoc.ends_at(" E"));
    }
}
