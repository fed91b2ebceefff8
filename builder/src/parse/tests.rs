//! What the parser makes of lines, and what it says of wrong ones.

use super::*;
use crate::instruction::CommandLine;

fn parsed(text: &str) -> Recipe {
    let source = Source::new("Dockerfile", text.as_bytes());
    parse(&source, &BTreeMap::new()).unwrap()
}

fn kind(line: &str) -> Kind {
    let mut recipe = parsed(&format!("FROM scratch\n{line}\n"));
    recipe
        .stages
        .pop()
        .unwrap()
        .instructions
        .pop()
        .unwrap()
        .kind
}

/// `line: message` of the fault.
fn fault(text: &str) -> String {
    let source = Source::new("Dockerfile", text.as_bytes());
    let shown = parse(&source, &BTreeMap::new()).unwrap_err().of(&source);
    format!("{}: {}", shown.line, shown.message)
}

fn fault_of(line: &str) -> String {
    fault(&format!("FROM scratch\n{line}\n"))
}

#[test]
fn names_of_instructions_and_stages_know_no_case() {
    let recipe = parsed("arg A=1\nfrom scratch as Base\nrun x\nFROM base");
    assert_eq!(recipe.globals[0].name, "A");
    assert_eq!(recipe.stages[0].name.as_deref(), Some("base"));
    assert_eq!(recipe.stages.len(), 2);
}

#[test]
fn a_mistyped_word_is_named_with_the_right_one() {
    assert_eq!(
        fault_of("RNU x"),
        "2: unknown instruction: RNU (did you mean RUN?)"
    );
    assert_eq!(
        fault_of("COPY --form=a b c"),
        "2: unknown flag: --form (did you mean from?)"
    );
    assert_eq!(
        fault_of("RUN --network=hots x"),
        "2: invalid network mode: \"hots\" (did you mean host?)"
    );
    assert_eq!(
        fault_of("RUN --security=insecur x"),
        "2: security mode \"insecur\" is not valid (did you mean insecure?)"
    );
    assert_eq!(
        fault_of("RUN --device=a/b=c,requird=1 x"),
        "2: unexpected key 'requird' in 'requird=1' (did you mean required?)"
    );
}

#[test]
fn a_recipe_needs_a_from_and_an_instruction() {
    assert_eq!(
        fault("# nothing\n\n"),
        "1: file with no instructions: a recipe begins with FROM"
    );
    assert!(fault("RUN x").contains("no build stage"));
    assert!(fault("ARG x").contains("no build stage"));
    assert!(fault("FROM a b").contains("one or three arguments"));
    assert!(fault("FROM a AS 1x").contains("invalid name for build stage: \"1x\""));
}

#[test]
fn a_command_is_json_or_a_text() {
    assert_eq!(
        kind("CMD [\"a\", \"b\"]"),
        Kind::Cmd(CommandLine::Exec(vec!["a".into(), "b".into()]))
    );
    assert_eq!(
        kind("CMD ['a']"),
        Kind::Cmd(CommandLine::Shell("['a']".into()))
    );
    assert!(fault_of("CMD [\"a\",1]").contains("arrays must be comprised of strings only"));
    assert!(fault_of("RUN []").contains("arguments are required"));
    assert!(
        fault_of("SHELL /bin/sh -c").contains("SHELL requires the arguments to be in JSON form")
    );
    assert!(fault_of("VOLUME [\"\"]").contains("VOLUME specified can not be an empty string"));
}

#[test]
fn pairs_have_an_old_form_and_a_new_one() {
    let Kind::Env(pairs) = kind("ENV A b  c \"d\"") else {
        panic!()
    };
    assert_eq!(
        (pairs[0].name.text.as_str(), pairs[0].value.text.as_str()),
        ("A", "b  c \"d\"")
    );
    let Kind::Label(pairs) = kind("LABEL a=1 b=\"x y\"") else {
        panic!()
    };
    assert_eq!(pairs[1].value.text, "\"x y\"");
    assert!(fault_of("LABEL h=${U:-x y}").contains("can't find = in \"y}\""));
    assert!(fault_of("ENV A").contains("ENV must have two arguments"));
}

#[test]
fn copy_needs_a_source_and_a_target() {
    assert!(fault_of("COPY a").contains("COPY requires at least two arguments"));
    assert!(fault_of("COPY a <<E\nE").contains("cannot accept a heredoc as a destination"));
    let Kind::Copy(files) = kind("COPY --chown=1:2 [\"a b\", \"/c\"]") else {
        panic!()
    };
    assert_eq!(files.sources[0].text, "a b");
    assert_eq!(files.target.text, "/c");
    assert_eq!(files.chown.unwrap().text, "1:2");
}

#[test]
fn a_mount_is_read_as_comma_separated_values() {
    let Kind::Run(run) =
        kind("RUN --mount=type=cache,\\\"target=/a,b\\\",ro --mount=type=secret,id=x y")
    else {
        panic!()
    };
    let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    assert_eq!(
        run.mounts[0].options,
        [
            option("type", "cache"),
            option("target", "/a,b"),
            ("ro".to_owned(), None)
        ]
    );
    assert_eq!(
        run.mounts[1].options,
        [option("type", "secret"), option("id", "x")]
    );
    assert!(fault_of("RUN --mount=a\\\"b x").contains("comma-separated values"));
    assert!(
        fault_of("RUN --mount=type=bind,from=$X,target=/q x")
            .contains("'from' doesn't support variable")
    );
}

#[test]
fn a_trigger_is_cut_into_words_where_it_is_written() {
    assert_eq!(kind("ONBUILD RUN x"), Kind::OnBuild("RUN x".into()));
    assert_eq!(
        kind("ONBUILD COPY <<A /b\nx\nA"),
        Kind::OnBuild("COPY <<A /b\nx\nA".into())
    );
    assert_eq!(kind("ONBUILD RNU x"), Kind::OnBuild("RNU x".into()));
    assert!(fault_of("ONBUILD ENV x").contains("ENV must have two arguments"));
    assert!(fault_of("ONBUILD CMD [1]").contains("strings only"));
    assert!(fault_of("ONBUILD FROM x").contains("FROM isn't allowed as an ONBUILD trigger"));
    assert!(fault_of("ONBUILD ONBUILD RUN x").contains("Chaining ONBUILD"));
}

#[test]
fn only_dockers_own_front_end_is_ourselves() {
    parsed("# syntax=docker/dockerfile:1.7-labs\nFROM scratch");
    parsed("# syntax = docker.io/docker/dockerfile@sha256:00\nFROM scratch");
    assert!(fault("# syntax=evil/frontend:1\nFROM scratch").contains("\"evil/frontend:1\""));
}

#[test]
fn a_big_recipe_is_read_in_a_moment() {
    let begin = processor();
    let env: String = (0..9_000)
        .map(|i| format!("ENV a{i}=$a{i} \\\n  b{i}='x y'\n"))
        .collect();
    assert_eq!(
        parsed(&format!("FROM scratch\n{env}")).stages[0]
            .instructions
            .len(),
        9_000
    );
    let many = format!("FROM scratch\n{}", "RUN x\n".repeat(10_000));
    assert!(fault(&many).contains("more than 10000 instructions"));
    assert!(processor() - begin < 10 * 100);
}

/// The processor's time that this thread had, in hundredths of a second: a busy machine does not stretch it.
#[expect(
    clippy::disallowed_methods,
    reason = "the test looks at its own thread"
)]
fn processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_ascii_whitespace();
    let times = fields.skip(11).take(2);
    times.map(|time| time.parse::<u64>().unwrap()).sum()
}

#[test]
fn what_is_no_text_stays_in_comments_and_for_people() {
    let read = |bytes: &[u8]| parse(&Source::new("f", bytes), &BTreeMap::new());
    assert!(read(b"# Jos\xe9 \0\nFROM scratch\nRUN a \\\n# \xe9\n b\n").is_ok());
    assert!(read(b"FROM scratch\nLABEL a=\"Jos\xe9\"\nMAINTAINER Jos\xe9\n").is_ok());
    assert!(read("FROM scratch\nRUN \u{fffd}\n".as_bytes()).is_ok());
    for bytes in [
        &b"FROM scratch\nRUN echo \xe9\n"[..],
        b"FROM scratch\nCOPY <<A /a\n\xe9\nA\n",
    ] {
        let fault = read(bytes).unwrap_err();
        assert_eq!(
            fault.message,
            "a byte that is not UTF-8, which can stand only in a comment"
        );
    }
    let fault = read(b"FROM scratch\nRUN echo \0").unwrap_err();
    assert!(fault.message.starts_with("a NUL byte"), "{}", fault.message);
}

#[test]
fn a_heredoc_of_copy_names_a_file() {
    assert!(fault_of("COPY <<a/b /d/\nx\na/b").contains("\"a/b\" is no file name"));
    assert!(fault_of("COPY <<.. /d/\nx\n..").contains("\"..\" is no file name"));
}
