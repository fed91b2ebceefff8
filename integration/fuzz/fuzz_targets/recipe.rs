//! A recipe → its plan, twice the same, or a fault that has its place in the recipe.
#![no_main]

use builder::{BaseConfig, Config, Error, Plan, Settings, Source, parse, plan};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match seed % 3 {
        0 => fuzzer_mutate(data, size, max_size),
        _ => mutate::recipe(data, size, max_size, seed),
    }
});

fuzz_target!(|text: &str| {
    assert_eq!(followed(text), followed(text));
});

/// What comes of a recipe, in words.
fn followed(text: &str) -> Result<String, String> {
    let source = Source::new("Dockerfile", text.as_bytes());
    let settings = Settings::default();
    let recipe = match parse(&source, &settings.build_args) {
        Ok(recipe) => recipe,
        Err(fault) => return Err(placed(text, &Error::Recipe(fault.of(&source)))),
    };
    let mut base = |_: &builder::Wish<'_>| {
        let config = Config {
            env: vec!["A=base".to_owned()],
            on_build: vec!["COPY --from=tools /t /t".to_owned(), "RUN $A".to_owned()],
            ..Config::default()
        };
        let platform = Some("linux/amd64".to_owned());
        Ok(BaseConfig { config, platform })
    };
    match plan(&source, &recipe, &settings, &mut base) {
        Ok(plan) => Ok(said(text, &plan)),
        Err(error) => Err(placed(text, &error)),
    }
}

/// A refusal is one line that names a line of the recipe, and an excerpt.
fn placed(text: &str, error: &Error) -> String {
    let Error::Recipe(shown) = error else {
        panic!("{error} has no place in the recipe");
    };
    let lines = 1 + text.matches('\n').count();
    assert!(
        (1..=lines).contains(&shown.line),
        "line {} of {lines}",
        shown.line
    );
    assert!(!shown.message.is_empty());
    assert!(!shown.message.contains('\n'), "{:?}", shown.message);
    assert!(shown.message.len() < 4096 && shown.excerpt.len() < 4096);
    error.to_string()
}

/// Every place of a plan is one of the recipe.
fn said(text: &str, plan: &Plan) -> String {
    assert!(!plan.stages.is_empty());
    for stage in &plan.stages {
        for step in &stage.steps {
            assert!(step.span.start <= step.span.end && step.span.end <= text.len());
        }
    }
    format!("{} {:?}", plan.to_json(), plan.warnings)
}
