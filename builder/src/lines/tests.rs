//! Lines as the language sees them.

use super::*;

fn lines(text: &str) -> Vec<String> {
    let source = Source::new("f", text.as_bytes());
    read(&source)
        .unwrap()
        .1
        .into_iter()
        .map(|l| l.text)
        .collect()
}

fn fault(text: &str) -> String {
    let source = Source::new("f", text.as_bytes());
    read(&source).unwrap_err().message
}

#[test]
fn continued_lines_are_joined_with_their_blanks() {
    assert_eq!(
        lines("  RUN echo a \\\n# comment\n  b \\  \n\n  c\nRUN x\n"),
        ["RUN echo a   b   c", "RUN x"]
    );
    assert_eq!(
        lines("ENV A=1\\\n  B=2 \\\n  # c\n  C=3"),
        ["ENV A=1  B=2   C=3"]
    );
    assert_eq!(lines("RUN a \\\\\nRUN b"), ["RUN a \\\\", "RUN b"]);
    assert_eq!(lines("\\\nRUN a\r\n"), ["RUN a"]);
}

#[test]
fn a_directive_changes_the_escape_only_at_the_top() {
    assert_eq!(lines("#escape=`\nRUN a `\nb"), ["RUN a b"]);
    assert_eq!(
        lines("# a comment\n# escape=`\nRUN a `\nRUN b"),
        ["RUN a `", "RUN b"]
    );
    assert_eq!(
        lines("# unknown=1\n# escape=`\nRUN a `\nRUN b"),
        ["RUN a `", "RUN b"]
    );
    assert!(fault("# escape=`\n# Escape=`\n").starts_with("only one escape"));
    assert!(fault("# escape=x\n").starts_with("invalid escape token 'x'"));
}

#[test]
fn a_place_in_a_joined_line_is_found_in_the_source() {
    let text = "FROM x\nRUN a \\\n  bad";
    let source = Source::new("f", text.as_bytes());
    let line = &read(&source).unwrap().1[1];
    let at = line.text.find("bad").unwrap();
    let span = line.span(at..at + 3);
    assert_eq!(&text[span.start..span.end], "bad");
    assert_eq!(source.line_number(span.start), 3);
}

#[test]
fn heredoc_bodies_are_taken_in_order_and_comments_in_them_kept() {
    let text = "COPY <<A <<-B /d\n# one\nA\n\ttwo\n\tB\nRUN x";
    let source = Source::new("f", text.as_bytes());
    let read = read(&source).unwrap().1;
    assert_eq!(read[0].heredocs[0].body, "# one\n");
    assert_eq!(read[0].heredocs[1].content(), "two\n");
    assert_eq!(read[1].text, "RUN x");
    assert!(fault("RUN <<E\nx\n").starts_with("unterminated heredoc"));
}

#[test]
fn only_run_copy_and_add_hold_heredocs() {
    assert_eq!(lines("USER <<E\nE"), ["USER <<E", "E"]);
    assert_eq!(
        lines("ONBUILD RUN <<E\nx\nE\nRUN y"),
        ["ONBUILD RUN <<E", "RUN y"]
    );
    assert_eq!(lines("RUN [\"<<E\"]\nRUN y"), ["RUN [\"<<E\"]", "RUN y"]);
}

#[test]
fn a_line_over_the_limit_is_refused() {
    let long = format!("RUN {}", "x".repeat(LONGEST_LINE));
    assert!(fault(&long).contains("greater than max allowed size of 65535"));
}
