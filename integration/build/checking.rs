//! `dhow build --check`: the linter's words, form and exit status, and what it says in a build.

use std::path::Path;

use super::Site;
use crate::support::claims;

claims![
    a_check_shows_each_place_and_says_why: [Dhow],
    a_check_ends_with_one_if_anything_is_found: [Dhow],
    each_case_has_its_lints: [Dhow],
    an_outline_says_what_can_be_given: [Dhow],
    targets_are_the_stages_with_what_is_said_of_them: [Dhow],
    a_build_tells_what_is_likely_wrong: [Root, Overlay, Dhow],
    a_recipe_may_make_its_warnings_errors: [Root, Overlay, Dhow],
];

fn a_check_shows_each_place_and_says_why() {
    let site = Site::bare();
    site.context("c", "FROM scratch AS Base\nLABEL a=$PAHT \\\n  b=1\n");
    let output = site.build(&["--check", "c"]).ends_with(1);
    assert_eq!(
        output.stdout,
        "Dockerfile:1: Stage name 'Base' should be lowercase (StageNameCasing)\n  |\n\
         1 | FROM scratch AS Base\n  |                 ^^^^\n  \
         = stage names are found in any case, so they are written in lower case\n\n\
         Dockerfile:2: Usage of undefined variable '$PAHT' (did you mean $PATH?) (UndefinedVar)\n  |\n\
         2 | LABEL a=$PAHT \\\n  |         ^^^^^\n  \
         = a variable that neither ARG, ENV nor the base image sets is empty\n\n2 warnings\n"
    );
    assert_eq!(output.stderr, "");
    assert!(!site.folder().join("store").exists());
}

fn a_check_ends_with_one_if_anything_is_found() {
    let site = Site::bare();
    site.context("c", "FROM scratch AS base\n");
    let output = site.build(&["--check", "c"]).success();
    assert_eq!(output.stdout, "no warnings\n");

    // A fault ends it too, after what was found before.
    site.context("c", "FROM scratch AS Base\nRNU x\n");
    let output = site.build(&["--check", "c"]).ends_with(1);
    assert!(
        output.stdout.ends_with("\n1 warning\n"),
        "{}",
        output.stdout
    );
    assert!(
        output
            .stderr
            .starts_with("dhow: Dockerfile:2: unknown instruction: RNU (did you mean RUN?)\n"),
        "{}",
        output.stderr
    );

    // What is skipped by the recipe is asked for by the build arg.
    site.context("c", "# check=skip=all\nFROM scratch AS Base\n");
    site.build(&["--check", "c"]).success();
    let asked = [
        "--check",
        "--build-arg",
        "BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar",
        "c",
    ];
    site.build(&asked).ends_with(1);
}

/// The folders of `builder/tests/cases`, which tell what the linter finds.
fn each_case_has_its_lints() {
    let site = Site::bare();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("builder/tests/cases");
    let mut rules = std::collections::BTreeSet::new();
    for folder in std::fs::read_dir(cases).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("lint-") {
            continue;
        }
        let recipe = std::fs::read_to_string(folder.join("Dockerfile")).unwrap();
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        let context = site.context(&name, &recipe);
        if let Some(ignore) = expected["ignore"].as_str() {
            std::fs::write(context.join(".dockerignore"), ignore).unwrap();
        }
        let output = site.build(&["--check", "--format", "json", &name]);
        let found: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let mut lints = Vec::new();
        for warning in found["warnings"].as_array().unwrap() {
            let rule = warning["ruleName"].as_str().unwrap().to_owned();
            let line = &warning["location"]["ranges"][0]["start"]["line"];
            lints.push(format!(
                "LINT {rule}:{line} {}",
                warning["detail"].as_str().unwrap()
            ));
            rules.insert(rule);
        }
        lints.sort();
        let wanted = expected["lints"].as_array().cloned().unwrap_or_default();
        assert_eq!(
            serde_json::json!(lints),
            serde_json::json!(wanted),
            "{name}"
        );
        output.ends_with(i32::from(!wanted.is_empty()));
    }
    // All but those that need a base image of another platform, or a global ARG without a default.
    assert!(rules.len() >= 19, "{rules:?}");
}

const CALLED: &str = "# BASE where it begins\nARG BASE=scratch\nARG UNUSED=1\nARG TAG=v$BASE\n\
    # tools what others need\nFROM $BASE AS tools\n# MODE how it is made\n# (or not)\nARG MODE=fast TAG\n\
    RUN --mount=type=secret,id=key,required=true --mount=type=ssh x\n\
    FROM scratch AS other\nARG ELSE=1\n\
    FROM scratch\nARG MODE=slow\nARG PLAIN\nCOPY --from=tools / /\nRUN --mount=type=secret,id=key --mount=type=secret,id=b x\n";

fn an_outline_says_what_can_be_given() {
    let site = Site::bare();
    site.context("c", CALLED);
    let called = site.build(&["--call=outline", "c"]).success();
    assert_eq!(
        called.stdout,
        "BUILD ARG   VALUE      DESCRIPTION\nBASE        scratch    where it begins\nTAG         vscratch\n\
         MODE        slow\nPLAIN\n\n\
         SECRET   REQUIRED\nkey      true\nb\n\nSSH       REQUIRED\ndefault\n"
    );
    assert_eq!(called.stderr, "");
    let given = [
        "--call",
        "outline,format=json",
        "--target=tools",
        "--build-arg=MODE=x",
        "c",
    ];
    let called: serde_json::Value =
        serde_json::from_str(&site.build(&given).success().stdout).unwrap();
    let at = |line: u32| {
        let at = serde_json::json!({ "line": line, "character": 0 });
        serde_json::json!({ "sourceIndex": 0, "ranges": [{ "start": at, "end": at }] })
    };
    assert_eq!(
        called,
        serde_json::json!({
            "name": "tools",
            "description": "what others need",
            "args": [
                { "name": "BASE", "description": "where it begins", "value": "scratch", "location": at(2) },
                { "name": "TAG", "value": "vscratch", "location": at(4) },
                { "name": "MODE", "description": "how it is made", "value": "x", "location": at(9) },
            ],
            "secrets": [{ "name": "key", "required": true, "location": at(10) }],
            "ssh": [{ "name": "default", "location": at(10) }],
        })
    );
    assert!(!site.folder().join("store").exists());
    // A fault is one, and a method that is none is named.
    site.context("d", "FROM scratch\nRNU x\n");
    site.build(&["--call=outline", "d"]).ends_with(1);
    let refused = site.build(&["--call=outlines", "c"]).ends_with(1);
    assert!(
        refused
            .stderr
            .contains("it can be build, check, outline or targets")
    );
}

fn targets_are_the_stages_with_what_is_said_of_them() {
    let site = Site::bare();
    site.context("c", CALLED);
    let called = site.build(&["--call=targets", "c"]).success();
    assert_eq!(
        called.stdout,
        "TARGET      DESCRIPTION\ntools       what others need\nother\n(default)\n"
    );
    let called = site.build(&["--call=targets,format=json", "c"]).success();
    let called: serde_json::Value = serde_json::from_str(&called.stdout).unwrap();
    let targets = called["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 3);
    assert_eq!(
        (&targets[0]["name"], &targets[0]["base"]),
        (&"tools".into(), &"$BASE".into())
    );
    assert_eq!(
        (&targets[0]["default"], &targets[2]["default"]),
        (&serde_json::Value::Null, &true.into())
    );
    // The check is one of them.
    site.context("e", "FROM scratch AS Base\n");
    let [called, old] =
        ["--call=check", "--check"].map(|flag| site.build(&[flag, "e"]).ends_with(1));
    assert_eq!(called.stdout, old.stdout);
}

fn a_build_tells_what_is_likely_wrong() {
    let site = Site::bare();
    site.context("c", "FROM scratch AS Base\nCOPY Dockerfile /\n");
    let output = site.build(&["c"]).success();
    assert!(
        output.stderr.starts_with(
            "warning: Dockerfile:1: Stage name 'Base' should be lowercase (StageNameCasing)\n"
        ),
        "{}",
        output.stderr
    );
}

fn a_recipe_may_make_its_warnings_errors() {
    let site = Site::bare();
    site.context(
        "c",
        "# check=error=true\nFROM scratch AS Base\nCOPY Dockerfile /\n",
    );
    let output = site.build(&["c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: Dockerfile:2: Stage name 'Base' should be lowercase (check=error=true; rules: \
         StageNameCasing)\n  |\n2 | FROM scratch AS Base\n  |                 ^^^^\n"
    );
    assert_eq!(output.stdout, "");
    let checked = site.build(&["--check", "--format", "json", "c"]);
    let found: serde_json::Value = serde_json::from_str(&checked.ends_with(1).stdout).unwrap();
    assert_eq!(
        found["buildError"]["message"],
        "lint violation found for rules: StageNameCasing"
    );
    let asked = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=false", "c"];
    site.build(&asked).success();
}
