//! Expansion by the table `tests/expansions.txt`, in words, and within limits.

use super::*;

/// `input | what comes of it`, one a line, with V=foobarbaz, E empty and U unset.
const TABLE: &str = include_str!("../../tests/expansions.txt");

fn variables() -> Variables {
    Variables::from_list(["V=foobarbaz", "E=", "S=a b", "P=/usr:/bin", "D=x.tar.gz"])
}

#[test]
fn each_line_of_the_table_holds() {
    let variables = variables();
    let expander = Expander {
        variables: &variables,
        escape: '\\',
        quotes: Quotes::Remove,
    };
    for line in TABLE
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with("# "))
    {
        let (input, wanted) = line.split_once(" | ").unwrap();
        let found = match expander.text(input) {
            Ok(text) => text,
            Err(misuse) => {
                let end = misuse.message.split_once("\": ").unwrap().1.to_owned();
                format!("error: {end}")
            }
        };
        assert_eq!(found, wanted, "{input}");
    }
}

#[test]
fn words_are_cut_also_where_a_variable_holds_blanks() {
    let variables = variables();
    let expander = Expander {
        variables: &variables,
        escape: '\\',
        quotes: Quotes::Remove,
    };
    assert_eq!(
        expander.words("x $S \"$S\" '' y\\ z").unwrap(),
        ["x", "a", "b", "a b", "y z"]
    );
}

#[test]
fn a_heredoc_body_keeps_its_quotes() {
    let variables = variables();
    let expander = Expander {
        variables: &variables,
        escape: '\\',
        quotes: Quotes::Keep,
    };
    assert_eq!(
        expander.text("x \"$S\" '\\$S' $$ \\\\\n").unwrap(),
        "x \"a b\" '$S'  \\\n"
    );
}

#[test]
fn a_recipe_that_doubles_and_doubles_is_stopped() {
    let mut variables = Variables::from_list(["A=0123456789"]);
    let stopped = (0..30).find_map(|_| {
        let expander = Expander {
            variables: &variables,
            escape: '\\',
            quotes: Quotes::Remove,
        };
        match expander.text("$A$A") {
            Ok(value) => {
                variables.set("A", &value);
                None
            }
            Err(misuse) => Some(misuse.message),
        }
    });
    assert!(stopped.is_some() || variables.bytes() <= 2 * LONGEST + 2);
    let deep = "${A:-".repeat(5_000);
    let expander = Expander {
        variables: &variables,
        escape: '\\',
        quotes: Quotes::Remove,
    };
    assert!(expander.text(&deep).unwrap_err().message.contains("nested"));
}
