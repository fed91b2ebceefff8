//! `dhow build --check`: the linter's words, form and exit status, and what it says in a build.

use std::path::Path;

use super::Site;
use crate::support::claims;

claims![
    a_check_shows_each_place_and_says_why: [Dhow],
    a_check_ends_with_one_if_anything_is_found: [Dhow],
    each_case_has_its_lints: [Dhow],
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
    let asked = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=false", "c"];
    site.build(&asked).success();
}
