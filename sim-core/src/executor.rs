//! The run loop: polls ready tasks in a seeded order, and moves time when none is ready.

use crate::agenda::Due;
use crate::event::EventKind;
use crate::life::Status;
use crate::outcome::{Failure, Outcome};
use crate::tasks::{Polled, Task, TaskId, Wait};
use crate::units::{seconds, thousands};
use crate::world::World;

const PICK: EventKind = EventKind::new("task.run");
const TIME: EventKind = EventKind::new("time");

/// So many polls without time moving are taken for a loop that will never end.
const POLLS_WITHOUT_TIME: u64 = 10_000_000;

/// A report of stuck tasks names at most so many.
const TASKS_NAMED: usize = 20;

impl World {
    /// Runs until the root task has finished or the run has failed. `limit` is in nanoseconds of simulated time.
    pub(crate) fn run_until_finished(&self, limit: u64) {
        let mut polls_at_this_time = 0;
        while !self.is_over() {
            match self.pick() {
                Some(task) => {
                    polls_at_this_time += 1;
                    self.step(task);
                    if polls_at_this_time > POLLS_WITHOUT_TIME {
                        return self.fail(Failure::new(Outcome::Stuck, self.explain_spin()));
                    }
                }
                None => {
                    let before = self.now();
                    self.advance(limit);
                    polls_at_this_time = if self.now() > before { 0 } else { polls_at_this_time + 1 };
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.finished.get() || self.failure.borrow().is_some()
    }

    /// Takes one of the ready tasks, by the seed: first in, first out would never show a race at one instant.
    #[inline]
    fn pick(&self) -> Option<TaskId> {
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() {
            return None;
        }
        let place = self.schedule.borrow_mut().below(ready.len() as u64) as usize;
        Some(ready.swap_remove(place))
    }

    /// As a turn of the loop, for these tasks only and in the middle of a poll.
    pub(crate) fn run_one_of(&self, tasks: &[TaskId]) -> bool {
        let task = {
            let mut ready = self.ready.borrow_mut();
            let places: Vec<usize> = (0..ready.len()).filter(|place| tasks.contains(&ready[*place])).collect();
            if places.is_empty() {
                return false;
            }
            let place = self.schedule.borrow_mut().below(places.len() as u64) as usize;
            ready.swap_remove(places[place])
        };
        let (running, hosting) = (self.running.get(), self.hosting.get());
        self.step(task);
        self.running.set(running);
        self.hosting.set(hosting);
        true
    }

    // Few frames between this loop and a poll: a hosted thread goes on by a switch of stacks, after which the processor
    // foresees no return, so that each frame costs some nanoseconds.
    #[inline(always)]
    fn step(&self, task: TaskId) {
        if self.park(task) {
            return;
        }
        if let Some(progress) = &self.progress {
            progress.poll_starts(task.slot);
        }
        let Some(node) = self.tasks.borrow().node_of(task) else { return };
        self.emit_at(node, PICK, &[task.serial], || self.tasks.borrow().describe(task));
        if let Some(Polled::Panicked(Some((caught, label)))) = self.poll_task(task) {
            let name = self.nodes.borrow()[node].name.clone();
            self.node_failed(node, caught.explain(&format!("on node {name}, in the {label}")));
        }
    }

    /// Moves time to the next thing that is due, and does everything that is due then.
    fn advance(&self, limit: u64) {
        let next = self.agenda.borrow_mut().next_at();
        let Some(at) = next else {
            return self.fail(Failure::new(Outcome::Stuck, self.explain_stuck("nothing can happen any more")));
        };
        if at.max(self.now()) > limit {
            let headline = format!("not finished after {} of simulated time", seconds(limit));
            return self.fail(Failure::new(Outcome::Stuck, self.explain_stuck(&headline)));
        }
        self.set_now(at.max(self.now()));
        self.log.borrow_mut().note(self.now(), 0, TIME, &[]);
        loop {
            let due = self.agenda.borrow_mut().pop_due(self.now());
            match due {
                None => return,
                Some(Due::Timer(waker)) => waker.wake(),
                Some(Due::Device { device, token }) => {
                    self.devices.get(device).into_iter().for_each(|device| device.due(token));
                }
                Some(Due::Call(call)) => call(),
            }
        }
    }

    /// A failure, when a thread outside the simulation woke a task.
    pub(crate) fn foreign_wake(&self) -> Option<Failure> {
        self.was_woken_from_outside().then(|| Failure::new(Outcome::Leaked, LEAKED_WAKE))
    }

    fn explain_stuck(&self, headline: &str) -> String {
        let tasks = self.tasks.borrow();
        let pending: Vec<(TaskId, &Task)> = tasks.pending().collect();
        let mut message = format!("{headline}; {} tasks wait:", thousands(pending.len() as u64));
        for (_, task) in pending.iter().take(TASKS_NAMED) {
            let nodes = self.nodes.borrow();
            let paused = if nodes[task.node].status == Status::Paused { " (paused)" } else { "" };
            let name = nodes[task.node].name.clone();
            drop(nodes);
            message += &format!("\n  {name}{paused}: {} ({})", self.explain_wait(task), task.label);
        }
        if pending.len() > TASKS_NAMED {
            message += &format!("\n  and {} more", thousands((pending.len() - TASKS_NAMED) as u64));
        }
        message
    }

    fn explain_wait(&self, task: &Task) -> String {
        match task.wait {
            Wait::Unknown => "waits for a channel, a lock or another future that is not of the simulator".to_string(),
            Wait::Sleep { local_deadline } => {
                format!("sleeps until its clock shows {}", seconds(local_deadline))
            }
            Wait::Join(other) => format!("joins {}", self.tasks.borrow().describe(other)),
            Wait::Stop => "waits to be asked to end".to_string(),
            Wait::Node(node) => format!("joins node {}", self.nodes.borrow()[node].name),
            Wait::Device { device, what, token } => {
                self.devices.get(device).map_or_else(|| what.to_string(), |device| device.describe_wait(what, token))
            }
        }
    }

    fn explain_spin(&self) -> String {
        let headline = format!("no progress: {} polls and time has not moved", thousands(POLLS_WITHOUT_TIME));
        let advice = "Tasks wake each other or themselves for ever; let one sleep, or wait for what it polls";
        format!("{}\n{advice}", self.explain_stuck(&headline))
    }
}

const LEAKED_WAKE: &str = "a task was woken by a thread outside the simulation\nA real \
                           thread, runtime or timer is at work: its timing differs from run to run. Use sim::spawn, \
                           sim::time and sim::net, or channels between simulated tasks";
