//! A recipe → its plan, twice the same, or a fault that has its place in the recipe; in little memory and few steps.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use builder::{BaseConfig, Config, Error, Plan, Settings, Source, parse, plan};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// The system's memory, counted: what is held, the most that was held, and how many pieces were asked for.
struct Counted;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system's own; nothing but numbers is added.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the system's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTED: Counted = Counted;

/// No recipe may take more memory than this.
const MOST_MEMORY: usize = 64 << 20;

/// Pieces of memory that any recipe may ask for, and how many more for each byte of it. They stand for time, which a
/// busy machine would stretch.
const FEW: usize = 4_000_000;
const EACH: usize = 200;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match seed % 3 {
        0 => fuzzer_mutate(data, size, max_size),
        _ => mutate::recipe(data, size, max_size, seed),
    }
});

fuzz_target!(|text: &str| {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    ASKED.store(0, Ordering::Relaxed);
    let first = followed(text);
    let took = MOST.load(Ordering::Relaxed) - before;
    assert!(took <= MOST_MEMORY, "it takes {took} bytes");
    let asked = ASKED.load(Ordering::Relaxed);
    let allowed = FEW + EACH * text.len();
    assert!(asked <= allowed, "it asks for memory {asked} times");
    assert_eq!(first, followed(text));
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
