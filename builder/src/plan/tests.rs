//! The plan of whole recipes: the cases of `tests/cases`, and what needs settings or a base image.

#![expect(
    clippy::disallowed_methods,
    reason = "the test reads its own data files"
)]

use std::path::Path;

use super::*;
use crate::parse;

fn planned(text: &str, settings: &Settings) -> Result<Plan> {
    let source = Source::new("Dockerfile", text.as_bytes());
    let recipe = parse::parse(&source, &settings.build_args)
        .map_err(|fault| Error::Recipe(fault.of(&source)))?;
    plan(&source, &recipe, settings, &mut |wish| Ok(base(wish.name)))
}

/// The one image that is known here.
fn base(name: &str) -> BaseConfig {
    assert_eq!(name, "base", "only one image is known here");
    let config = serde_json::json!({
        "Env": ["A=base"], "Cmd": ["old"], "OnBuild": ["COPY --from=tools /t /t", "RUN $A"]
    });
    BaseConfig {
        config: serde_json::from_value(config).unwrap(),
        platform: Some("linux/s390x".to_owned()),
    }
}

/// What the linter finds, as `LINT Rule:line message`, sorted; `ignore` is the context's ignore file.
fn linted(text: &str, settings: &Settings, ignore: &str) -> Vec<String> {
    let source = Source::new("Dockerfile", text.as_bytes());
    let linter = Linter::default();
    let mut options = lint::Options::default();
    let ignore = Ignore::parse(ignore).unwrap();
    let asks = Asks {
        all: true,
        ignore: Some(&ignore),
    };
    if let Ok(recipe) = parse::parse_linted(&source, &settings.build_args, &linter) {
        options = asked::options(&recipe, settings).unwrap_or_default();
        let mut base = |wish: &crate::Wish<'_>| Ok(BaseImage::Known(Box::new(base(wish.name))));
        let _fault = plan_linted(&source, &recipe, settings, &asks, &linter, &mut base).err();
    }
    let mut lines: Vec<String> = lint::findings(&source, &options, &linter.found())
        .into_iter()
        .map(|finding| {
            let shown = finding.shown;
            format!("LINT {:?}:{} {}", finding.rule, shown.line, shown.message)
        })
        .collect();
    lines.sort();
    lines
}

/// Each folder of tests/cases holds a recipe and what must come of it: `error` (the first line
/// of the message), or `config` and `run`; and `lints`, what the linter finds. `ignore` is the context's ignore
/// file.
#[test]
fn every_case_comes_out_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    let mut wrong = Vec::new();
    for folder in std::fs::read_dir(cases).unwrap() {
        let folder = folder.unwrap().path();
        let text = std::fs::read_to_string(folder.join("Dockerfile")).unwrap();
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        let fields = expected.as_object_mut().unwrap();
        let ignore = fields.remove("ignore").unwrap_or_default();
        let lints = linted(&text, &Settings::default(), ignore.as_str().unwrap_or(""));
        let mut got = match planned(&text, &Settings::default()) {
            Ok(plan) => plan.to_json(),
            Err(error) => {
                let shown = error.to_string();
                serde_json::json!({ "error": shown.lines().next() })
            }
        };
        if !lints.is_empty() {
            got["lints"] = lints.into();
        }
        if got != expected {
            let name = folder.file_name().unwrap().display();
            wrong.push(format!("{name}: {got}\n  instead of {expected}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 120, "only {count} cases");
}

fn runs(plan: &Plan) -> Vec<String> {
    let json = plan.to_json();
    let runs = json["run"].as_array().unwrap();
    runs.iter()
        .map(|run| {
            run["args"]
                .as_array()
                .unwrap()
                .last()
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn stages_that_nobody_needs_are_absent() {
    let text = "FROM scratch AS a\nRUN a\nFROM scratch AS b\nRUN b\nFROM scratch AS c\nRUN c\nCOPY --from=a x y\n";
    let plan = planned(text, &Settings::default()).unwrap();
    assert_eq!(runs(&plan), ["a", "c"]);
    let settings = Settings {
        target: Some("b".to_owned()),
        ..Settings::default()
    };
    assert_eq!(runs(&planned(text, &settings).unwrap()), ["b"]);
}

#[test]
fn triggers_of_a_base_image_may_need_stages_of_ours() {
    let text =
        "FROM scratch AS tools\nRUN tools\nFROM scratch AS other\nRUN other\nFROM base\nRUN own\n";
    let plan = planned(text, &Settings::default()).unwrap();
    assert_eq!(runs(&plan), ["tools", "$A", "own"]);
    let config = &plan.stages.last().unwrap().config;
    assert!(config.on_build.is_empty());
    assert_eq!(config.cmd, ["old"]);
    assert_eq!(config.env[0], "A=base");
    assert!(config.env[1].starts_with("PATH=/usr/local/sbin"));
}

#[test]
fn a_build_arg_beats_the_default_and_only_declared_ones_count() {
    let settings = Settings {
        build_args: BTreeMap::from([
            ("A".to_owned(), "given".to_owned()),
            ("B".to_owned(), String::new()),
            ("NOBODY".to_owned(), "x".to_owned()),
            ("http_proxy".to_owned(), "p".to_owned()),
        ]),
        ..Settings::default()
    };
    // A bad default does not matter where a value is given.
    let plan = planned(
        "FROM scratch\nARG A=${x:?bad}\nARG B\nARG C\nRUN x",
        &settings,
    )
    .unwrap();
    let Action::Run(run) = &plan.stages[0].steps.last().unwrap().action else {
        panic!()
    };
    assert_eq!(run.env[1..], ["A=given", "B="]);
    assert_eq!(run.proxies, ["HTTP_PROXY=p", "http_proxy=p"]);
    assert_eq!(
        plan.warnings,
        ["build arg NOBODY is not used: no ARG names it"]
    );
}

#[test]
fn the_hosts_network_needs_the_persons_word() {
    let text = "FROM scratch\nRUN --network=host x";
    let plan_without = planned(text, &Settings::default()).unwrap();
    assert!(
        plan_without
            .refusal()
            .unwrap()
            .message
            .contains("--network=host")
    );
    let settings = Settings {
        network: NetworkDefault::Host,
        ..Settings::default()
    };
    assert!(planned(text, &settings).unwrap().refusal().is_none());
}

#[test]
fn what_is_not_done_yet_is_named_with_its_line() {
    for (line, words) in [
        ("RUN --device=a x", "RUN --device=a"),
        ("RUN --security=insecure x", "--security=insecure"),
    ] {
        let plan = planned(&format!("FROM scratch\n{line}"), &Settings::default()).unwrap();
        assert!(plan.refusal().unwrap().message.contains(words), "{line}");
    }
}

/// Each is a mebibyte, and none may take long, much memory, or end in a crash.
#[test]
fn a_recipe_of_a_mebibyte_of_anything_comes_to_an_end() {
    let fill = |head: &str, unit: &str| {
        format!(
            "{head}{}",
            unit.repeat(((1 << 20) - head.len()) / unit.len())
        )
    };
    let stage = "FROM scratch\n";
    let long = "a".repeat(60_000);
    let numbered = |line: &dyn Fn(usize) -> String| -> String {
        let lines: String = (0..9_000).map(line).collect();
        format!("{stage}{lines}")
    };
    for recipe in [
        fill("", "\u{feff}"),
        fill("", "#a\n"),
        fill(stage, "RUN x\r\n"),
        fill("FROM scratch\nRUN x", "\\\n"),
        fill("FROM scratch\nRUN a\\\n", "\n"),
        fill("FROM scratch\nRUN ", "x"),
        fill("FROM scratch\nCOPY <<E /x\n", "$A\n"),
        fill("FROM scratch\nCMD [", "[[[[[[[[[\\\n"),
        fill("FROM scratch\nLABEL a=", "${a:-${b:-\\\n"),
        fill("FROM scratch\nRUN ", "--mount=type=cache,target=/x \\\n"),
        fill("FROM scratch\nCOPY ", "--exclude=**/*x*/** \\\n"),
        fill("FROM scratch\nENV A=0123456789\n", "ENV A=$A$A\nRUN x\n"),
        fill(
            &format!("{stage}ENV A={long}\n"),
            "LABEL b=${A//*a*a*b/x}\n",
        ),
        fill(&format!("{stage}ENV A={long}\n"), "USER $A\nWORKDIR $A\n")
            .lines()
            .take(100_000 / 60)
            .fold(String::new(), |all, line| all + line + "\n"),
        fill(
            &format!("{stage}ENV A={long}\n"),
            "FROM scratch AS a\nFROM a AS a\n",
        )
        .lines()
        .take(200_000 / 60)
        .fold(String::new(), |all, line| all + line + "\n"),
        numbered(&|i| format!("ENV n{i}=1\nRUN x\n"))
            .lines()
            .take(120_000 / 60)
            .fold(String::new(), |all, line| all + line + "\n"),
        numbered(&|_| "EXPOSE 1-65535\n".to_owned()),
        numbered(&|_| "MAINTAINER a\n".to_owned()),
        numbered(&|i| format!("FROM scratch AS s{i}\nCOPY --from=s{} a b\n", i + 1))
            .lines()
            .take(150_000 / 60)
            .fold(String::new(), |all, line| all + line + "\n"),
    ] {
        // What it comes to is told elsewhere.
        let _any = planned(&recipe, &Settings::default()).is_ok();
        let _any = linted(&recipe, &Settings::default(), "");
    }
}

#[test]
fn variables_that_double_are_stopped_in_little_time() {
    let mut text = "FROM scratch\nARG A=0123456789\n".to_owned();
    for _ in 0..40 {
        text.push_str("ARG A=$A$A\nRUN x\n");
    }
    let error = planned(&text, &Settings::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("more than") || error.contains("longer than"),
        "{error}"
    );
}

#[test]
fn a_copied_heredoc_has_its_variables_filled_in_and_its_quotes_kept() {
    let text =
        "FROM scratch\nARG V=x\nCOPY <<a <<'b' /d/\n$V \"$V\" '$V' \\\\\n\\$V $$.\na\n$V \\\\\nb\n";
    let plan = planned(text, &Settings::default()).unwrap();
    let Action::Copy(copy) = &plan.stages[0].steps.last().unwrap().action else {
        panic!()
    };
    let files: Vec<(&str, &str)> = copy
        .heredocs
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_str()))
        .collect();
    assert_eq!(files, [("a", "x \"x\" 'x' \\\n$V .\n"), ("b", "$V \\\\\n")]);
}
