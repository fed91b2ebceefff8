//! Which steps may begin: each after the one before it in its stage and after the stages that it takes from.
//! Pure. Not its job: doing them.

use std::collections::BTreeMap;

use crate::mounts::Mounted;
use crate::plan::{Action, Plan, StagePlan, Step};
use crate::stages::{Base, Origin};

/// A step: its stage's place in the plan, and its own place in the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// Place of the stage in the plan.
    pub(crate) stage: usize,
    /// Place of the step in the stage.
    pub(crate) step: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Runs,
    Done,
}

#[derive(Debug)]
struct Node {
    /// It does not look at what the steps before it leave (COPY --link).
    apart: bool,
    /// Stages, by their place in the plan, that must be finished before.
    needs: Vec<usize>,
    state: State,
}

/// The steps of a plan and how far each is.
#[derive(Debug)]
pub(crate) struct Graph {
    stages: Vec<Vec<Node>>,
}

impl Graph {
    /// The graph of a plan; nothing is done yet.
    pub(crate) fn new(plan: &Plan) -> Self {
        let places = plan.stages.iter().enumerate();
        let places: BTreeMap<usize, usize> =
            places.map(|(place, stage)| (stage.index, place)).collect();
        let node = |stage: &StagePlan, at: usize, step: &Step| Node {
            apart: matches!(&step.action, Action::Copy(copy) if copy.link),
            needs: needs(stage, at, step)
                .iter()
                .filter_map(|index| places.get(index).copied())
                .collect(),
            state: State::Waits,
        };
        let stages = plan.stages.iter().map(|stage| {
            let steps = stage.steps.iter().enumerate();
            steps.map(|(at, step)| node(stage, at, step)).collect()
        });
        Self {
            stages: stages.collect(),
        }
    }

    /// Takes the first step, in the plan's order, that may begin now.
    pub(crate) fn begin(&mut self) -> Option<Id> {
        let next = self.stages.iter().enumerate().find_map(|(stage, steps)| {
            let first = steps.iter().position(|node| node.state != State::Done)?;
            let step = (first..steps.len()).find(|step| {
                let node = &steps[*step];
                (node.apart || *step == first)
                    && node.state == State::Waits
                    && node.needs.iter().all(|s| self.is_done(*s))
            })?;
            Some(Id { stage, step })
        })?;
        self.stages[next.stage][next.step].state = State::Runs;
        Some(next)
    }

    /// The step has come to its end.
    pub(crate) fn finish(&mut self, id: Id) {
        self.stages[id.stage][id.step].state = State::Done;
    }

    /// Whether all steps of a stage have come to their end.
    pub(crate) fn is_done(&self, stage: usize) -> bool {
        self.stages[stage]
            .iter()
            .all(|node| node.state == State::Done)
    }
}

/// The stages, by their numbers in the recipe, that a step takes from.
fn needs(stage: &StagePlan, at: usize, step: &Step) -> Vec<usize> {
    let mut needs: Vec<usize> = origins(step)
        .filter_map(|origin| match origin {
            Origin::Stage(index) => Some(*index),
            _ => None,
        })
        .collect();
    if let (0, Base::Stage(base)) = (at, &stage.base) {
        needs.push(*base);
    }
    needs
}

/// Everything that a step takes files from.
pub(crate) fn origins(step: &Step) -> impl Iterator<Item = &Origin> {
    let (copy, mounts) = match &step.action {
        Action::Copy(copy) => (Some(&copy.origin), [].as_slice()),
        Action::Run(run) => (None, run.mounts.as_slice()),
        _ => (None, [].as_slice()),
    };
    let mounts = mounts.iter().filter_map(|mount| mounted_from(&mount.kind));
    copy.into_iter().chain(mounts)
}

fn mounted_from(mount: &Mounted) -> Option<&Origin> {
    match mount {
        Mounted::Bind { origin, .. } => Some(origin),
        Mounted::Cache { seed, .. } => seed.as_ref().map(|seed| &seed.origin),
        Mounted::Tmpfs { .. } | Mounted::Secret { .. } | Mounted::Ssh { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, parse};

    fn graph(recipe: &str) -> Graph {
        let source = Source::new("f", recipe.as_bytes());
        let recipe = parse(&source, &std::collections::BTreeMap::new()).unwrap();
        let settings = crate::Settings::default();
        let plan = crate::plan(&source, &recipe, &settings, &mut |_| {
            Ok(crate::BaseConfig::default())
        });
        Graph::new(&plan.unwrap())
    }

    fn all(graph: &mut Graph) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| graph.begin())
            .map(|id| (id.stage, id.step))
            .collect()
    }

    const RECIPE: &str = "FROM scratch AS a\nRUN one\nFROM scratch AS unused\nRUN no\n\
         FROM scratch\nRUN two\nCOPY --from=a /x /x\nRUN three";

    #[test]
    fn stages_begin_at_once_and_wait_only_where_they_take_from_another() {
        let mut graph = graph(RECIPE);
        // Both FROMs.
        assert_eq!(all(&mut graph), [(0, 0), (1, 0)]);
        graph.finish(Id { stage: 1, step: 0 });
        assert_eq!(all(&mut graph), [(1, 1)]);
        graph.finish(Id { stage: 1, step: 1 });
        // The COPY waits for the whole of stage a.
        assert_eq!(all(&mut graph), []);
        graph.finish(Id { stage: 0, step: 0 });
        assert_eq!(all(&mut graph), [(0, 1)]);
        graph.finish(Id { stage: 0, step: 1 });
        assert_eq!(all(&mut graph), [(1, 2)]);
        graph.finish(Id { stage: 1, step: 2 });
        assert_eq!(all(&mut graph), [(1, 3)]);
        graph.finish(Id { stage: 1, step: 3 });
        assert_eq!(all(&mut graph), []);
        assert!(graph.is_done(0) && graph.is_done(1));
    }

    #[test]
    fn a_linked_copy_does_not_wait_for_the_steps_before_it() {
        let mut graph = graph("FROM scratch\nRUN one\nCOPY --link a b\nCOPY c d");
        graph.begin().unwrap();
        graph.finish(Id { stage: 0, step: 0 });
        assert_eq!(all(&mut graph), [(0, 1), (0, 2)]);
        graph.finish(Id { stage: 0, step: 2 });
        assert_eq!(all(&mut graph), []);
        graph.finish(Id { stage: 0, step: 1 });
        assert_eq!(all(&mut graph), [(0, 3)]);
    }

    #[test]
    fn a_mounted_stage_is_waited_for() {
        let recipe = "FROM scratch AS a\nRUN one\nFROM scratch\nRUN --mount=from=a,target=/a two";
        let mut graph = graph(recipe);
        assert_eq!(all(&mut graph), [(0, 0), (1, 0)]);
        graph.finish(Id { stage: 1, step: 0 });
        assert_eq!(all(&mut graph), []);
    }

    #[test]
    fn a_stage_begins_when_its_base_is_done() {
        let mut graph = graph("FROM scratch AS a\nFROM a\nFROM a");
        // The middle stage is needed by nobody.
        assert_eq!(all(&mut graph), [(0, 0)]);
        graph.finish(Id { stage: 0, step: 0 });
        assert_eq!(all(&mut graph), [(1, 0)]);
    }
}
