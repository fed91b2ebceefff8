//! A build from the recipe to the image: the loop over stages and steps. Not its job: how one step is
//! done.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use image::{CommitOptions, Image, Layer, Scratch, Store};
use sys::beneath::Root;

use crate::bases::Bases;
use crate::cache::{Cache, Key, Outcome};
use crate::commit::{Document, Past};
use crate::error::{Doing, Error, Result};
use crate::fingerprint::{self, Fingerprint};
use crate::ignore::Ignore;
use crate::layers::{empty, overlay, root};
use crate::plan::{self, Action, CopyStep, Plan, RunStep, StagePlan, Step};
use crate::request::{Event, Options};
use crate::select::look;
use crate::source::Source;
use crate::stages::{Base, Origin};
use crate::steps::{copy, directories, owner, run};
use crate::stubs::Stubs;
use crate::tree::{Owners, Tree};
use crate::{context, parse};

/// Reads the recipe and says what a build would do. `open` is asked for the store only if the recipe stands
/// on an image.
///
/// # Errors
/// The recipe's first fault; a base image that is not there.
pub fn plan_only(
    options: &Options,
    open: &mut dyn FnMut() -> Result<Store, image::Error>,
) -> Result<Plan> {
    let source = context::recipe(&options.context, options.file.as_deref())?;
    let recipe = parse(&source).map_err(|fault| Error::Recipe(fault.of(&source)))?;
    plan::plan(&source, &recipe, &options.settings, &mut |name, span| {
        let store = open().doing(|| "open the store".to_owned())?;
        Bases::new(&store)
            .config(name)
            .map_err(|error| at(&source, span, "FROM", error))
    })
}

/// Builds the image. Must run in a process of one thread: RUN's containers are made by it.
///
/// # Errors
/// A fault of the recipe before any step is done; the step that failed, with its place.
pub fn build(store: &Store, options: &Options, tell: &mut dyn FnMut(Event<'_>)) -> Result<Image> {
    if !sys::privileges::is_root() {
        return Err(Error::Refused(
            "building as another user than root is not supported yet".to_owned(),
        ));
    }
    let source = context::recipe(&options.context, options.file.as_deref())?;
    let recipe = parse(&source).map_err(|fault| Error::Recipe(fault.of(&source)))?;
    let mut bases = Bases::new(store);
    let plan = plan::plan(&source, &recipe, &options.settings, &mut |name, span| {
        bases
            .config(name)
            .map_err(|error| at(&source, span, "FROM", error))
    })?;
    if let Some(fault) = plan.refusal() {
        return Err(Error::Recipe(fault.of(&source)));
    }
    run::end_orphans(&options.state)?;
    let _lease = Cache::hold(store)?;
    for warning in &plan.warnings {
        tell(Event::Warning(warning));
    }
    let mut builder = Builder {
        store,
        options,
        bases,
        cache: Cache::new(store, options.no_cache),
        context: None,
        done: BTreeMap::new(),
        signals: sys::signal::signals_as_fd().doing(|| "take our signals".to_owned())?,
        number: 0,
        total: plan.stages.iter().map(|stage| stage.steps.len()).sum(),
        tell,
    };
    for stage in &plan.stages {
        builder.stage(&source, stage)?;
    }
    builder.image(&plan)
}

/// An error at a place of the recipe.
fn at(source: &Source, span: crate::Span, step: &str, error: Error) -> Error {
    match error {
        Error::Recipe(_) => error,
        error => Error::Step {
            place: format!("{}:{}", source.name, source.line_number(span.start)),
            step: step.to_owned(),
            source: Box::new(error),
        },
    }
}

/// A stage so far.
#[derive(Clone, Default)]
struct Built {
    layers: Vec<Layer>,
    document: Document,
}

struct Builder<'a> {
    store: &'a Store,
    options: &'a Options,
    bases: Bases<'a>,
    cache: Cache<'a>,
    context: Option<Tree>,
    done: BTreeMap<usize, Built>,
    signals: OwnedFd,
    number: usize,
    total: usize,
    tell: &'a mut dyn FnMut(Event<'_>),
}

impl Builder<'_> {
    fn stage(&mut self, source: &Source, stage: &StagePlan) -> Result<()> {
        let mut built = match &stage.base {
            Base::Scratch => Built::default(),
            Base::Stage(earlier) => self.done.get(earlier).cloned().unwrap_or_default(),
            Base::Image(name) => {
                let image = self.bases.image(name)?;
                Built {
                    layers: image.layers.clone(),
                    document: Document::of_base(&image.config),
                }
            }
        };
        for step in &stage.steps {
            // Nobody may remove what we stand on.
            let _lease = self
                .store
                .hold(&built.layers)
                .doing(|| "hold the layers".to_owned())?;
            self.step(&mut built, stage, step)
                .map_err(|error| at(source, step.span, &first_line(&step.text), error))?;
        }
        self.done.insert(stage.index, built);
        Ok(())
    }

    fn step(&mut self, built: &mut Built, stage: &StagePlan, step: &Step) -> Result<()> {
        run::interrupted(&self.signals)?;
        self.number += 1;
        (self.tell)(Event::Step {
            number: self.number,
            total: self.total,
            stage: stage.name.as_deref(),
            text: &first_line(&step.text),
        });
        let outcome = match &step.action {
            Action::Metadata => Outcome::Nothing,
            Action::Directory { path, user } => self.directory(&built.layers, path, user)?,
            Action::Run(run) => self.run(&built.layers, run)?,
            Action::Copy(copy) => self.copy(&built.layers, copy)?,
        };
        let layer = match outcome {
            Outcome::Layer(layer) => {
                built.layers.push(layer);
                true
            }
            Outcome::Nothing => false,
        };
        if !step.text.starts_with("FROM ") {
            built.document.past.push(Past {
                text: step.text.clone(),
                layer,
            });
        }
        Ok(())
    }

    /// What the key's step left before, or what `act` leaves now.
    fn once(
        &mut self,
        key: &Key,
        layers: &[Layer],
        act: impl FnOnce(&mut Self, &OwnedFd, &Scratch) -> Result<Option<Stubs>>,
    ) -> Result<Outcome> {
        if let Some(outcome) = self.cache.find(key)? {
            (self.tell)(Event::Cached);
            return Ok(outcome);
        }
        let scratch = self.store.scratch().doing(|| "begin a layer".to_owned())?;
        let mount = overlay(layers, Some(&scratch))?;
        let stubs = act(self, &mount, &scratch)?;
        // The layer is taken from the directory below: the mount must be gone.
        drop(mount);
        if let Some(stubs) = stubs {
            stubs.remove(&scratch.upper)?;
        }
        let outcome = self.commit(scratch)?;
        self.cache.keep(key, &outcome)?;
        Ok(outcome)
    }

    fn commit(&self, scratch: Scratch) -> Result<Outcome> {
        let doing = || "make a layer".to_owned();
        let upper = sys::file::open_dir(&scratch.upper).doing(doing)?;
        if sys::file::list(&upper).doing(doing)?.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let options = CommitOptions {
            clamp_mtime: Some(self.options.epoch),
        };
        let layer = self.store.commit_layer(scratch, options).doing(doing)?;
        Ok(Outcome::Layer(layer))
    }

    /// WORKDIR
    fn directory(&mut self, layers: &[Layer], path: &str, user: &str) -> Result<Outcome> {
        let path = crate::steps::metadata::clean(path);
        if path == "/" {
            return Ok(Outcome::Nothing);
        }
        let mut key = self.key("directory", layers);
        key.add("path", path.as_str());
        key.add("user", user);
        self.once(&key, layers, |_, mount, _| {
            let root = root(mount)?;
            let (uid, gid) = owner::of_user(&root, user)?;
            directories::make_directories(&root, &path, uid, gid, 0o755)?;
            Ok(None)
        })
    }

    /// RUN
    fn run(&mut self, layers: &[Layer], step: &RunStep) -> Result<Outcome> {
        let mut key = self.key("run", layers);
        key.add("args", json(&step.args));
        key.add("env", json(step.env.as_ref()));
        key.add("cwd", step.cwd.as_str());
        key.add("user", step.user.as_str());
        key.add("network", format!("{:?}", step.network));
        if let Some((name, content)) = &step.script {
            key.add("script", json(&[name, content]));
        }
        self.once(&key, layers, |builder, mount, scratch| {
            let stubs = Stubs::before(&root(mount)?)?;
            let place = run::Place {
                folder: scratch.upper.with_file_name("made"),
                state: &builder.options.state,
                signals: &builder.signals,
            };
            let tell = &mut builder.tell;
            run::run(mount, step, &place, &mut |bytes| tell(Event::Output(bytes)))?;
            Ok(Some(stubs))
        })
    }

    /// COPY
    fn copy(&mut self, layers: &[Layer], step: &CopyStep) -> Result<Outcome> {
        // Its tree is kept through the step: what is hashed is what is copied.
        let tree = self.tree(&step.origin)?;
        let exclude = Ignore::patterns(&step.exclude).map_err(Error::Refused)?;
        let mut key = self.key("copy", layers);
        key.add("target", step.target.as_str());
        key.add("chown", step.chown.clone().unwrap_or_default());
        key.add(
            "chmod",
            step.chmod.as_ref().map(|c| c.key()).unwrap_or_default(),
        );
        let mut found = Vec::new();
        for source in &step.sources {
            for found_now in tree.find(source)? {
                if step.refuse_archives && tree.is_archive(&found_now)? {
                    return Err(Error::Refused(format!(
                        "ADD {source}: unpacking archives is not supported yet (COPY copies the archive)"
                    )));
                }
                let mut seen = Fingerprint::new(tree.owners);
                let shape = look(&tree, &found_now, &exclude, &mut seen)?;
                let (sum, files) = seen.finish();
                key.add_files(&format!("source {source} {shape}"), sum.clone(), files);
                found.push((found_now, sum));
            }
        }
        for (name, content) in &step.heredocs {
            key.add(&format!("heredoc {name}"), content.as_str());
        }
        let outcome = self.once(&key, layers, |_, mount, _| {
            let root = root(mount)?;
            let manner = copy::Manner {
                root: &root,
                target: &step.target,
                owner: step
                    .chown
                    .as_deref()
                    .map(|chown| owner::of_chown(&root, chown))
                    .transpose()?,
                mode: step.chmod.as_ref(),
                exclude: &exclude,
            };
            for (found, sum) in &found {
                let mut seen = Fingerprint::new(tree.owners);
                copy::source(&manner, &tree, found, &mut seen)?;
                // A cache entry must hold what its key says, also while somebody writes the context.
                if seen.finish().0 != *sum {
                    return Err(fingerprint::changed(&tree.name));
                }
            }
            for (name, content) in &step.heredocs {
                copy::text(&manner, name, content)?;
            }
            Ok(None)
        });
        if step.origin == Origin::Context {
            self.context = Some(tree);
        }
        outcome
    }

    fn key(&self, kind: &str, layers: &[Layer]) -> Key {
        let mut key = Key::new(kind, layers);
        // Times are cut to it: with another one, the layer is another.
        key.add("epoch", self.options.epoch.to_string());
        key
    }

    /// The tree that a COPY takes from.
    fn tree(&mut self, origin: &Origin) -> Result<Tree> {
        let (name, layers) = match origin {
            Origin::Context => {
                return match self.context.take() {
                    Some(tree) => Ok(tree),
                    None => context::open(&self.options.context, self.options.file.as_deref()),
                };
            }
            Origin::Scratch => ("an empty tree".to_owned(), Vec::new()),
            Origin::Stage(index) => (
                format!("stage {index}"),
                self.done
                    .get(index)
                    .map(|b| b.layers.clone())
                    .unwrap_or_default(),
            ),
            Origin::Image(image) => (
                format!("image {image}"),
                self.bases.image(image)?.layers.clone(),
            ),
        };
        let mount = match layers.is_empty() {
            true => empty()?,
            false => overlay(&layers, None)?,
        };
        Ok(Tree {
            root: Root::new(mount),
            name,
            owners: Owners::Kept,
            ignore: Ignore::default(),
        })
    }

    fn image(&self, plan: &Plan) -> Result<Image> {
        let doing = || "make the image".to_owned();
        let Some((stage, built)) = plan
            .stages
            .last()
            .and_then(|stage| Some((stage, self.done.get(&stage.index)?)))
        else {
            return Err(Error::Refused("the recipe has no stage".to_owned()));
        };
        let config = built.document.bytes(
            &stage.config,
            stage.author.as_deref(),
            &built.layers,
            self.options.epoch,
        );
        // The same image with its names again: nothing to write, nothing to wait for.
        let id = image::Digest::of(&config);
        if let Ok(image) = self.store.find(&id.to_string())
            && self
                .options
                .names
                .iter()
                .all(|name| image.names.contains(name))
        {
            return Ok(image);
        }
        self.store
            .commit_image(&config, &built.layers, &self.options.names)
            .doing(doing)
    }
}

/// Strings as JSON: no two lists give the same text.
fn json<S: AsRef<str>>(list: &[S]) -> String {
    let list: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    serde_json::json!(list).to_string()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").to_owned()
}
