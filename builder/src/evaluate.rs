//! One stage's instructions in order, variables filled in: steps and the config that comes of them.
//! Pure. Not its job: other stages, and what single metadata instructions do (see `steps::metadata`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::{Config, DEFAULT_PATH};
use crate::diagnostic::Checked;
use crate::expand::{Expander, Misuse, Quotes};
use crate::ignore::Ignore;
use crate::instruction::{Argument, Instruction, Kind, Recipe};
use crate::limits::{self, Budget};
use crate::lint::{Linter, Place, Rule, recipe, values};
use crate::plan::{Action, StagePlan, Step};
use crate::platform::Platform;
use crate::request::Settings;
use crate::source::Span;
use crate::stages::Base;
use crate::steps::{from, metadata, planned};
use crate::triggers;
use crate::variables::Variables;
use crate::words::Word;

/// What all stages share.
pub(crate) struct Scope<'a> {
    /// The recipe.
    pub(crate) recipe: &'a Recipe,
    /// Global ARGs and platforms.
    pub(crate) globals: &'a Variables,
    /// What the person asks for.
    pub(crate) settings: &'a Settings,
    /// Hears what is likely wrong.
    pub(crate) linter: &'a Linter,
    /// What all stages may come to together.
    pub(crate) budget: &'a Budget,
    /// What the context leaves out, if somebody asks for it.
    pub(crate) ignore: Option<&'a Ignore>,
}

/// What a stage begins with, and leaves to those that stand on it.
#[derive(Debug, Clone)]
pub(crate) struct Inherited {
    config: Config,
    /// The config's variables and the ARGs: ARGs of a base stage are seen by its children.
    variables: Variables,
    author: Option<String>,
    platform: Option<Platform>,
    made_for: Option<String>,
    memory: Memory,
}

/// What only the linter wants to know of a stage and those that it stands on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// Every ARG, with or without a value.
    pub(crate) declared: BTreeSet<String>,
    /// Whether there was a WORKDIR.
    pub(crate) workdir: bool,
    /// Whether the base image's variables are unknown.
    pub(crate) unknown_base: bool,
}

impl Inherited {
    /// `FROM scratch`
    pub(crate) fn scratch() -> Self {
        Self::image(Config::scratch())
    }

    /// `FROM image`
    pub(crate) fn image(mut config: Config) -> Self {
        let mut variables = Variables::from_list(&config.env);
        if variables.get("PATH").is_none() {
            config.set_env("PATH", DEFAULT_PATH);
            variables.set("PATH", DEFAULT_PATH);
        }
        Self {
            config,
            variables,
            author: None,
            platform: None,
            made_for: None,
            memory: Memory::default(),
        }
    }

    /// The same of an image that is made for a platform.
    pub(crate) fn on(mut self, platform: Option<String>) -> Self {
        self.made_for = platform;
        self
    }

    /// `FROM image` of an image that is not here: nothing is known of it.
    pub(crate) fn unknown() -> Self {
        let mut inherited = Self::scratch();
        inherited.memory.unknown_base = true;
        inherited
    }
}

/// A stage while its instructions are followed.
pub(crate) struct State<'a> {
    /// What all stages share.
    pub(crate) scope: &'a Scope<'a>,
    /// The stage's number.
    pub(crate) index: usize,
    /// The config so far.
    pub(crate) config: Config,
    /// What `$NAME` means now.
    pub(crate) variables: Variables,
    /// What the stage is for.
    pub(crate) platform: Option<Platform>,
    /// MAINTAINER so far.
    pub(crate) author: Option<String>,
    /// Whether this stage has a CMD of its own: ENTRYPOINT clears an inherited one.
    pub(crate) own_cmd: bool,
    /// What the linter wants to know.
    pub(crate) memory: Memory,
    /// The instruction that is followed now.
    pub(crate) place: Place,
    /// Where this stage's last CMD, ENTRYPOINT and HEALTHCHECK stand.
    pub(crate) last: [Option<Place>; 3],
    /// The variables as a list, made once for all RUNs that see the same.
    env: Option<Arc<Vec<String>>>,
    /// Where the config's variables stand in their list.
    places: HashMap<String, usize>,
}

/// Proxies are handed to RUN if the build is given them, without being part of the image or the cache.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Whether `name` is a proxy variable.
pub(crate) fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name)
}

/// Follows a stage's instructions, the triggers of its base first.
pub(crate) fn stage(
    scope: &Scope<'_>,
    index: usize,
    base: &Base,
    inherited: Inherited,
    triggers: &[Instruction],
) -> Checked<(StagePlan, Inherited)> {
    let stage = &scope.recipe.stages[index];
    let mut state = State {
        scope,
        index,
        config: inherited.config,
        variables: inherited.variables,
        platform: match base {
            Base::Stage(_) => inherited.platform,
            _ => from::platform(stage, scope.recipe, scope.globals, scope.settings),
        },
        author: inherited.author,
        own_cmd: false,
        memory: inherited.memory,
        place: stage.place(),
        last: [None, None, None],
        env: None,
        places: HashMap::new(),
    };
    state.begin(stage.span)?;
    // Triggers fire once: the grandchildren do not see them.
    state.config.on_build.clear();
    let mut steps = vec![from::from(&state, stage, base)?];
    for trigger in triggers {
        let place = stage.place();
        let mut step = state
            .follow(trigger, place)
            .map_err(|fault| triggers::shown_at(fault, &trigger.text, stage.span))?;
        step.span = stage.span;
        steps.push(step);
    }
    for instruction in &stage.instructions {
        steps.push(state.follow(instruction, instruction.place())?);
    }
    let left = Inherited {
        config: state.config.clone(),
        variables: state.variables,
        author: state.author.clone(),
        platform: state.platform.clone(),
        made_for: inherited.made_for.clone(),
        memory: state.memory,
    };
    let plan = StagePlan {
        index,
        name: stage.name.clone(),
        base: base.clone(),
        platform: state.platform,
        span: stage.span,
        steps,
        config: state.config,
        author: state.author,
        made_for: inherited.made_for,
    };
    Ok((plan, left))
}

impl State<'_> {
    /// Expands with the variables of this moment.
    pub(crate) fn expander(&self) -> Expander<'_> {
        Expander {
            variables: &self.variables,
            escape: self.scope.recipe.escape,
            quotes: Quotes::Remove,
        }
    }

    /// A word expanded with the variables of this moment; unset ones are told to the linter.
    pub(crate) fn word(&self, word: &Word) -> Checked<String> {
        let (text, names) = self.expander().captured(&word.text);
        self.tell_undefined(word.span, &names);
        let text = text.map_err(|misuse| misuse.within(word))?;
        self.scope.budget.spend(text.len(), word.span)?;
        Ok(text)
    }

    /// The same for a text at some place of the recipe.
    pub(crate) fn text(
        &self,
        expander: Expander<'_>,
        text: &str,
        at: Span,
    ) -> Result<String, Misuse> {
        let (text, names) = expander.captured(text);
        self.tell_undefined(at, &names);
        let text = text?;
        let spent = self.scope.budget.spend(text.len(), at);
        spent.map_err(|fault| Misuse {
            at: 0,
            message: fault.message,
        })?;
        Ok(text)
    }

    fn tell_undefined(&self, at: Span, names: &crate::expand::Names) {
        if self.memory.unknown_base {
            return;
        }
        let declared = &self.memory.declared;
        let linter = self.scope.linter;
        values::undefined(linter, &self.place, at, names, &self.variables, declared);
    }

    /// Tells of the instruction that is followed now.
    pub(crate) fn lint(&self, rule: Rule, mark: Span, message: String) {
        self.scope.linter.add(rule, &self.place, mark, message);
    }

    /// The variables as a list.
    pub(crate) fn env(&mut self, span: Span) -> Checked<Arc<Vec<String>>> {
        if let Some(env) = &self.env {
            return Ok(Arc::clone(env));
        }
        let lists = self.variables.bytes() + self.variables.len() * limits::ENTRY;
        self.scope.budget.spend(lists, span)?;
        let env = Arc::new(self.variables.to_list());
        self.env = Some(Arc::clone(&env));
        Ok(env)
    }

    /// Sets a variable for `$NAME` and RUN.
    pub(crate) fn set(&mut self, name: &str, value: &str, span: Span) -> Checked<()> {
        self.env = None;
        limits::set(&mut self.variables, name, value, span)
    }

    /// What is inherited costs, too: every stage has a config of its own.
    fn begin(&mut self, span: Span) -> Checked<()> {
        for (place, entry) in self.config.env.iter().enumerate() {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.places.entry(name.to_owned()).or_insert(place);
            // A stage that another one stands on hands over its ARGs too, but its ENVs come after them.
            self.variables.set(name, value);
        }
        let labels = self.config.labels.iter();
        let labels: usize = labels.map(|(name, value)| name.len() + value.len()).sum();
        let entries = self.config.env.len() + self.config.labels.len();
        let others = self.config.exposed_ports.len() + self.config.volumes.len();
        let words = self
            .config
            .shell
            .iter()
            .chain(&self.config.cmd)
            .chain(&self.config.entrypoint);
        let words: usize = words.map(String::len).sum();
        let all = self.variables.bytes() + labels + words + (entries + others) * limits::ENTRY;
        self.scope.budget.spend(all, span)
    }

    /// Sets a variable of the config, in its old place if it has one.
    pub(crate) fn set_config(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let list = &mut self.config.env;
        match self.places.get(name) {
            Some(place) => list[*place] = entry,
            None => {
                self.places.insert(name.to_owned(), list.len());
                list.push(entry);
            }
        }
    }

    /// The proxies of the build that no ARG or ENV has set. Programs read either case: one given is given in both.
    pub(crate) fn proxies(&self) -> Vec<String> {
        PROXIES
            .iter()
            .filter(|name| self.variables.get(name).is_none())
            .filter_map(|name| {
                let given = |name: &str| self.scope.settings.build_args.get(name);
                let value = given(name)
                    .or_else(|| given(&name.to_ascii_uppercase()))
                    .or_else(|| given(&name.to_ascii_lowercase()))?;
                Some(format!("{name}={value}"))
            })
            .collect()
    }

    fn follow(&mut self, instruction: &Instruction, place: Place) -> Checked<Step> {
        self.place = place;
        let mut refusal = None;
        let written = recipe::written(&instruction.text);
        metadata::lint(self, &instruction.kind, written);
        let action = match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    self.argument(argument)?;
                }
                Action::Metadata
            }
            Kind::Run(run) => {
                let (step, why) = planned::run(self, run, instruction.span)?;
                refusal = why;
                Action::Run(step)
            }
            Kind::Copy(files) => Action::Copy(planned::copy(self, files)?),
            Kind::Add(add) => Action::Copy(planned::add(self, add)?),
            Kind::Workdir(path) => metadata::workdir(self, path)?,
            kind => {
                metadata::apply(self, kind, instruction.span)?;
                Action::Metadata
            }
        };
        Ok(Step {
            action,
            span: instruction.span,
            text: instruction.text.clone(),
            refusal,
        })
    }

    /// ARG: the build's value, or the default, or the global one.
    fn argument(&mut self, argument: &Argument) -> Checked<()> {
        let linter = self.scope.linter;
        values::secret(linter, &self.place, argument.span, "ARG", &argument.name);
        let value = self.argument_value(argument)?;
        linter.hear(argument.span, value.as_deref());
        self.memory.declared.insert(argument.name.clone());
        match value {
            Some(value) if !values::SCANS.contains(&argument.name.as_str()) => {
                self.set(&argument.name, &value, argument.span)
            }
            _ => Ok(()),
        }
    }

    fn argument_value(&self, argument: &Argument) -> Checked<Option<String>> {
        let given = self.scope.settings.build_args.get(&argument.name);
        Ok(match (given, &argument.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(self.word(default)?),
            // Without one it is not even empty.
            (None, None) => self.scope.globals.get(&argument.name).map(str::to_owned),
        })
    }
}
