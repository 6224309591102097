//! Whom a fault is aimed at.

use std::rc::Rc;

use crate::choice::Draws;
use crate::glob::matches;
use crate::life::Status;
use crate::node::{Node, NodeId};
use crate::world::{self, World};

pub(super) type Role = Rc<dyn Fn() -> Option<Node>>;

/// Lets faults be aimed at `@name`: whoever `holder` says has that role when the fault fires. A fault that finds nobody
/// in the role does not fire.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn role(name: &str, holder: impl Fn() -> Option<Node> + 'static) {
    world::with("fault::role", |world| {
        let old = world.faults.borrow_mut().roles.insert(name.to_string(), Rc::new(holder));
        drop(old);
    });
}

/// The node called `name`.
pub(super) fn named(kind: &str, name: &str) -> Result<Node, String> {
    Node::find(name).ok_or_else(|| {
        let known = world::with("faults", |world| world.nodes.borrow().names().join(", "));
        format!("fault {kind} is aimed at node {name}, and there is no such node. The nodes are: {known}")
    })
}

/// The names of whom a target means now: none when it means nobody.
pub(super) fn resolve(world: &World, kind: &str, target: &str, draws: &mut Draws) -> Result<Vec<String>, String> {
    if let Some(pattern) = target.strip_prefix("all:") {
        return Ok(names(world, pattern, false));
    }
    if let Some(role) = target.strip_prefix('@') {
        let holder = world.faults.borrow().roles.get(role).cloned();
        let holder = holder.ok_or_else(|| {
            format!("fault {kind} is aimed at role @{role}, which nobody gave: call sim::fault::role(\"{role}\", ..)")
        })?;
        return Ok(holder().map(Node::name).into_iter().collect());
    }
    if !target.contains(['*', '?']) {
        return Ok(vec![target.to_string()]);
    }
    let running = names(world, target, true);
    let place = draws.below(running.len() as u64) as usize;
    Ok(running.into_iter().nth(place).into_iter().collect())
}

/// The names of the nodes that match, without the test's own.
pub(super) fn names(world: &World, pattern: &str, running: bool) -> Vec<String> {
    let nodes = world.nodes.borrow();
    let ids = (1..nodes.list.len() as u32).map(NodeId);
    let runs = |id: &NodeId| !running || matches!(nodes[*id].status, Status::Up | Status::Paused);
    ids.filter(runs).map(|id| nodes[id].name.to_string()).filter(|name| matches(pattern, name)).collect()
}
