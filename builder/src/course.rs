//! The course of a build: each step begins as soon as what it needs is done and there is room for one more, in a
//! process of its own; the first that fails ends all others. Not its job: what a step does, and its process.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use image::{Layer, Store};

use crate::bases::Bases;
use crate::before::Before;
use crate::build::{at, first_line};
use crate::cache::{Cache, Outcome};
use crate::commit::{Document, Past};
use crate::error::{Doing, Error, Result};
use crate::graph::{Graph, Id};
use crate::lent::Lent;
use crate::material::Material;
use crate::places::Places;
use crate::plan::{Action, Plan, StagePlan, Step};
use crate::request::{Event, Options};
use crate::source::Source;
use crate::stages::Base;
use crate::steps::{self, container, files, workdir};
use crate::work::{Built, Work};
use crate::worker::{self, Message, Worker};

/// What the steps have come to.
pub(crate) struct Run {
    /// What the stages have become, by their numbers in the recipe.
    pub(crate) stages: BTreeMap<usize, Built>,
    /// Each step that has a key.
    pub(crate) records: Vec<Record>,
    /// What came from servers for the steps, in their order.
    pub(crate) materials: Vec<Material>,
}

/// A step with its key, and what it has left.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its stage's number in the recipe.
    pub(crate) stage: usize,
    /// The digest of its key.
    pub(crate) key: String,
    /// The layer; `None` if nothing changed.
    pub(crate) layer: Option<Layer>,
}

/// Does all steps of the plan.
///
/// # Errors
/// The step that failed first, with its place in the recipe; nothing is at work any more then.
pub(crate) fn run(
    store: &Store,
    options: &Options,
    (source, files, plan): (&Source, &Places, &Plan),
    (bases, before, lent): (&Bases<'_>, &mut Before, &Lent),
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Run> {
    let mut course = Course {
        store,
        options,
        source,
        files,
        plan,
        bases,
        before,
        lent,
        keys: BTreeMap::new(),
        materials: BTreeMap::new(),
        graph: Graph::new(plan),
        left: BTreeMap::new(),
        done: BTreeMap::new(),
        running: Vec::new(),
        signals: sys::signal::signals_as_fd().doing(|| "take our signals".to_owned())?,
        warnings: BTreeSet::new(),
        tell,
    };
    let result = course.steps();
    course.end();
    result.map(|()| Run {
        records: course.records(),
        materials: course.materials.into_values().flatten().collect(),
        stages: course.done,
    })
}

/// So often whoever shows the build is told that time goes by.
const TICK: Duration = Duration::from_millis(200);

/// A step that is at work.
struct Running {
    id: Id,
    worker: Worker,
    began: Instant,
}

struct Course<'a> {
    store: &'a Store,
    options: &'a Options,
    source: &'a Source,
    files: &'a Places,
    plan: &'a Plan,
    bases: &'a Bases<'a>,
    before: &'a mut Before,
    lent: &'a Lent,
    graph: Graph,
    /// The digest of each step's key.
    keys: BTreeMap<Id, String>,
    /// What came from servers for each step.
    materials: BTreeMap<Id, Vec<Material>>,
    /// What each step has left.
    left: BTreeMap<Id, Outcome>,
    /// The finished stages.
    done: BTreeMap<usize, Built>,
    running: Vec<Running>,
    signals: OwnedFd,
    /// What steps have warned of.
    warnings: BTreeSet<String>,
    tell: &'a mut dyn FnMut(Event<'_>),
}

impl<'a> Course<'a> {
    /// Does all steps.
    fn steps(&mut self) -> Result<()> {
        loop {
            worker::interrupted(&self.signals)?;
            while self.running.len() < self.options.jobs.max(1)
                && let Some(id) = self.graph.begin()
            {
                self.begin(id)?;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            let mut fds = vec![self.signals.as_fd()];
            fds.extend(self.running.iter().map(|step| step.worker.socket.as_fd()));
            let tick = Instant::now() + TICK;
            let ready =
                sys::poll::readable(&fds, Some(tick)).doing(|| "wait for the steps".to_owned())?;
            if !ready.contains(&true) {
                (self.tell)(Event::Tick);
            }
            // From the last to the first: who is done is taken out.
            for index in (0..self.running.len()).rev() {
                if ready[index + 1] {
                    self.hear(index)?;
                }
            }
        }
    }

    fn begin(&mut self, id: Id) -> Result<()> {
        let (stage, step) = self.at(id);
        let number = self.number(id);
        (self.tell)(Event::Step {
            number,
            total: self.plan.stages.iter().map(|stage| stage.steps.len()).sum(),
            stage: stage.name.as_deref(),
            text: &first_line(&step.text),
        });
        if matches!(step.action, Action::Metadata) {
            return self.finish(id, Outcome::Nothing, Duration::ZERO);
        }
        let layers = self.so_far(id)?.layers;
        let worker = Worker::start(|voice| {
            let work = Work {
                store: self.store,
                options: self.options,
                files: self.files,
                bases: self.bases,
                cache: Cache::new(self.store, self.before.anew(stage)),
                before: self.before,
                lent: self.lent,
                step: (stage, id.step),
                done: &self.done,
                voice,
            };
            match &step.action {
                Action::Metadata => Ok(Outcome::Nothing),
                Action::Directory { path, user } => workdir::workdir(&work, &layers, path, user),
                Action::Run(run) => steps::run::run(&work, &layers, run),
                Action::Copy(copy) => files::files(&work, &layers, copy),
            }
        })?;
        self.running.push(Running {
            id,
            worker,
            began: Instant::now(),
        });
        Ok(())
    }

    /// Hears one message of a running step.
    fn hear(&mut self, index: usize) -> Result<()> {
        let step = &self.running[index];
        let number = self.number(step.id);
        let outcome = match step.worker.hear()? {
            Some(Message::Cached) => {
                (self.tell)(Event::Cached { number });
                return Ok(());
            }
            Some(Message::Key(key)) => {
                let id = step.id;
                let (stage, _) = self.at(id);
                self.keys.insert(id, key.clone());
                self.before.note(stage, id.step, key);
                return Ok(());
            }
            Some(Message::Missed(why)) => {
                (self.tell)(Event::Missed { number, why: &why });
                return Ok(());
            }
            Some(Message::Warning(text)) => {
                // Steps find the same about the host.
                if self.warnings.insert(text.clone()) {
                    (self.tell)(Event::Warning(&text));
                }
                return Ok(());
            }
            Some(Message::Material(material)) => {
                let all = self.materials.entry(step.id).or_default();
                all.push(material);
                return Ok(());
            }
            Some(Message::Output(bytes)) => {
                let bytes = &bytes;
                (self.tell)(Event::Output { number, bytes });
                return Ok(());
            }
            Some(Message::Done(layer)) => self.layer(layer),
            Some(Message::Failed(chain)) => Err(Error::Told(chain)),
            None => Err(step.worker.ended()),
        };
        let step = self.running.remove(index);
        match outcome {
            Ok(outcome) => {
                step.worker.reap();
                self.finish(step.id, outcome, step.began.elapsed())
            }
            Err(error) => {
                let (_, planned) = self.at(step.id);
                let error = at(self.source, planned.span, &first_line(&planned.text), error);
                self.running.push(step);
                Err(error)
            }
        }
    }

    /// The layer that a step says it has left.
    fn layer(&self, diff_id: Option<String>) -> Result<Outcome> {
        let Some(text) = diff_id else {
            return Ok(Outcome::Nothing);
        };
        let doing = || format!("look for layer {text}");
        let diff_id = text.parse::<image::Digest>().doing(doing)?;
        match self.store.layer(diff_id).doing(doing)? {
            Some(layer) => Ok(Outcome::Layer(layer)),
            None => Err(Error::Refused(format!("layer {text} is gone"))),
        }
    }

    fn finish(&mut self, id: Id, outcome: Outcome, took: Duration) -> Result<()> {
        let number = self.number(id);
        (self.tell)(Event::Done { number, took });
        self.left.insert(id, outcome);
        self.graph.finish(id);
        if self.graph.is_done(id.stage) {
            let whole = Id {
                step: self.plan.stages[id.stage].steps.len(),
                ..id
            };
            let built = self.so_far(whole)?;
            self.done.insert(self.plan.stages[id.stage].index, built);
        }
        Ok(())
    }

    /// The steps that have keys.
    fn records(&self) -> Vec<Record> {
        let records = self.keys.iter().map(|(id, key)| Record {
            stage: self.plan.stages[id.stage].index,
            key: key.clone(),
            layer: match self.left.get(id) {
                Some(Outcome::Layer(layer)) => Some(layer.clone()),
                _ => None,
            },
        });
        records.collect()
    }

    /// Ends what is still at work.
    fn end(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let mut workers = Vec::new();
        for step in std::mem::take(&mut self.running) {
            let (number, took) = (self.number(step.id), step.began.elapsed());
            (self.tell)(Event::Failed { number, took });
            workers.push(step.worker);
        }
        worker::end(workers);
        // One that was killed outright could not end its container.
        let _for_the_next_build = container::end_orphans(&self.options.state);
        // Opening the store removes what they left in it.
        let _another_time = Store::open(self.store.path());
    }

    fn at(&self, id: Id) -> (&'a StagePlan, &'a Step) {
        let plan = self.plan;
        let stage = &plan.stages[id.stage];
        (stage, &stage.steps[id.step])
    }

    /// A step's number among all steps, from 1.
    fn number(&self, id: Id) -> usize {
        let before = &self.plan.stages[..id.stage];
        before.iter().map(|stage| stage.steps.len()).sum::<usize>() + id.step + 1
    }

    /// The stage of a step before that step.
    fn so_far(&self, id: Id) -> Result<Built> {
        let stage = &self.plan.stages[id.stage];
        let mut built = match &stage.base {
            Base::Scratch | Base::Named(_) => Built {
                layers: Vec::new(),
                document: stage
                    .platform
                    .as_ref()
                    .map(Document::of_scratch)
                    .unwrap_or_default(),
            },
            Base::Stage(earlier) => self.done.get(earlier).cloned().unwrap_or_default(),
            Base::Image(name) => {
                let image = self.bases.found(name, stage.platform.as_ref())?;
                Built {
                    layers: image.layers.clone(),
                    document: Document::of_base(&image.config),
                }
            }
        };
        for (place, step) in stage.steps[..id.step].iter().enumerate() {
            let left = self.left.get(&Id { step: place, ..id });
            if let Some(Outcome::Layer(layer)) = left {
                built.layers.push(layer.clone());
            }
            let layer = matches!(left, Some(Outcome::Layer(_)));
            if layer || belongs_to_history(&step.text) {
                built.document.past.push(Past {
                    text: step.text.clone(),
                    layer,
                });
            }
        }
        Ok(built)
    }
}

/// What is said of a base is its own history's; what waits for a child is part of that one's.
fn belongs_to_history(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or("");
    !["FROM", "ONBUILD"]
        .iter()
        .any(|other| word.eq_ignore_ascii_case(other))
}
