//! The device: every machine, the descriptors of its processes, and the operations under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use sim_core::NodeId;
use sim_core::device::{self, Device, DeviceId, Down, Process, emit};
use sim_core::event::EventKind;
use sim_core::fault::{self, Fault};
use slab::Slab;

use crate::atlas::Chart;
use crate::content::{Content, LONGEST, room};
use crate::errno::Errno;
use crate::lint::{Habit, Lint};
use crate::machine::Machine;
use crate::open::Mode;
use crate::operation::Operation;
use crate::options::Options;
use crate::pages::{PAGE, parts};
use crate::profile::FsProfile;
use crate::volume::{Ino, Inode, Volume};

const WRITE: EventKind = EventKind::new("disk.write");

/// Dirty pages of a volume beyond which its kernel writes back at once, as with `vm.dirty_bytes` of Linux: 64 MiB.
const MOST_DIRTY: usize = 16_384;

/// The disks as a device of the simulation.
#[derive(Default)]
pub struct Disk(RefCell<Kernel>);

/// An open file description (open(2)): what the clones of a file share.
pub(crate) struct Descriptor {
    pub(crate) process: Process,
    pub(crate) ino: Ino,
    pub(crate) mode: Mode,
    pub(crate) path: Arc<str>,
    position: u64,
    /// How many files and fsyncs use it.
    handles: u32,
    /// The write-back errors of the inode that this descriptor knows of.
    pub(crate) errors: u32,
    /// Its last fsync failed, and nothing was written since.
    pub(crate) failed: bool,
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) options: Options,
    pub(crate) id: Option<DeviceId>,
    machines: Vec<Machine>,
    pub(crate) descriptors: Slab<Descriptor>,
    /// Operations under way, and those whose result nobody has taken yet.
    pub(crate) operations: BTreeMap<u32, Operation>,
    pub(crate) write_backs: BTreeMap<u32, NodeId>,
    next_token: u32,
    pub(crate) atlas: Chart,
    /// Crashes that a fault has planned and that are here: once the kernel is no longer borrowed.
    crashing: Vec<(NodeId, Fault)>,
    /// Who waits for a lock.
    pub(crate) lock_waiters: Vec<Waker>,
    /// To be woken once the kernel is no longer borrowed.
    pub(crate) wakes: Vec<Waker>,
}

impl Kernel {
    pub(crate) fn machine(&mut self, node: NodeId) -> &mut Machine {
        let place = node.0 as usize;
        while self.machines.len() <= place {
            self.machines.push(Machine::new(NodeId(self.machines.len() as u32)));
        }
        &mut self.machines[place]
    }

    /// The nodes of all machines.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.machines.len() as u32).map(NodeId)
    }

    /// A machine that is there already.
    pub(crate) fn known_machine(&self, node: NodeId) -> &Machine {
        &self.machines[node.0 as usize]
    }

    pub(crate) fn volume(&mut self, node: NodeId) -> &mut Volume {
        let now = device::wall_clock(node);
        let volume = &mut self.machine(node).volume;
        volume.now = now;
        volume
    }

    pub(crate) fn machine_and_options(&mut self, node: NodeId) -> (&mut Machine, &Options) {
        self.machine(node);
        (&mut self.machines[node.0 as usize], &self.options)
    }

    pub(crate) fn profile(&mut self, node: NodeId) -> FsProfile {
        let (machine, options) = self.machine_and_options(node);
        *machine.profile(options)
    }

    pub(crate) fn next_token(&mut self) -> u32 {
        self.next_token = self.next_token.wrapping_add(1);
        self.next_token
    }

    /// Opens a descriptor. True: the file is new.
    pub(crate) fn open(
        &mut self,
        process: Process,
        path: &Path,
        words: &Arc<str>,
        mode: Mode,
    ) -> io::Result<(usize, bool)> {
        let capacity = self.options.capacity;
        let mine = || self.descriptors.iter().filter(|(_, descriptor)| descriptor.process == process).count();
        if capacity.descriptors.is_some_and(|most| mine() >= most) {
            return Err(Errno::TooManyFiles.into());
        }
        let volume = self.volume(process.node);
        if (mode.create || mode.create_new) && capacity.inodes.is_some_and(|most| volume.usage().1 >= most) {
            volume.resolve(path, crate::open::Follow::Always).map_err(|_| Errno::NoSpace)?;
        }
        let (ino, is_new) = volume.open(path, &mode)?;
        volume.hold(ino);
        let errors = volume.inode(ino).sample_errors();
        let descriptor =
            Descriptor { process, ino, mode, path: words.clone(), position: 0, handles: 1, errors, failed: false };
        self.stir(process.node);
        Ok((self.descriptors.insert(descriptor), is_new))
    }

    /// Waits for the device where a read reaches it and the device takes time.
    pub(crate) fn begin_read(&mut self, slot: usize, at: Option<u64>, want: usize) -> Option<u32> {
        let Descriptor { process, ino, ref mode, ref path, position, .. } = self.descriptors[slot];
        if !self.takes_time(process.node) || !mode.read {
            return None;
        }
        let content = self.known_machine(process.node).volume.get(ino).content();
        let load = |content: &Content| content.pages_to_load(at.unwrap_or(position), want, mode.direct);
        let pages = content.map_or(0, load);
        let operation = Operation::new(process, path.clone(), "a read", None);
        (pages > 0).then(|| self.transfer(operation, pages))
    }

    /// Waits for the device where it takes time to write so many bytes past the cache.
    pub(crate) fn begin_write(&mut self, slot: usize, length: usize) -> Option<u32> {
        let Descriptor { process, ref mode, ref path, .. } = self.descriptors[slot];
        if !self.takes_time(process.node) || !mode.direct {
            return None;
        }
        let operation = Operation::new(process, path.clone(), "a write", None);
        Some(self.transfer(operation, length.div_ceil(PAGE) as u64))
    }

    /// Whether what reaches the device of a machine takes time, or may.
    #[inline]
    fn takes_time(&self, node: NodeId) -> bool {
        self.options.performance.is_limited() || !self.known_machine(node).ills.are_none()
    }

    fn transfer(&mut self, operation: Operation, pages: u64) -> u32 {
        let (machine, options) = self.machine_and_options(operation.process.node);
        let latency = options.performance.latency.as_ref();
        let latency = latency.map_or(0, |latency| latency.draw_nanos(&mut machine.draws));
        self.give(operation, pages, latency)
    }

    fn most_blocks(&self, slot: usize) -> Option<u64> {
        self.machines[self.descriptors[slot].process.node.0 as usize].most_blocks(&self.options)
    }

    pub(crate) fn duplicate(&mut self, slot: usize) {
        self.descriptors[slot].handles += 1;
    }

    /// Closes one reference to a descriptor.
    pub(crate) fn close(&mut self, slot: usize) {
        let descriptor = &mut self.descriptors[slot];
        descriptor.handles -= 1;
        if descriptor.handles == 0 {
            let Descriptor { process, ino, .. } = self.descriptors.remove(slot);
            self.machine(process.node).volume.release(ino);
        }
    }

    /// A program closed a file, and its locks with it.
    pub(crate) fn close_file(&mut self, slot: usize) {
        let Descriptor { process, ino, handles, errors, .. } = self.descriptors[slot];
        let told = self.profile(process.node).failure.told;
        if handles == 1 && self.machine(process.node).volume.get(ino).owes_error(errors, told) {
            self.lint(slot, Habit::ClosedWithUnreportedError);
        }
        let machine = self.machine(process.node);
        if let Some(locks) = machine.locks.get_mut(&ino) {
            locks.closed(slot, handles == 1);
            if locks.is_empty() {
                machine.locks.remove(&ino);
            }
            self.wakes.append(&mut self.lock_waiters);
        }
        self.close(slot);
    }

    pub(crate) fn lint(&mut self, slot: usize, habit: Habit) {
        let Descriptor { process, ref path, .. } = self.descriptors[slot];
        let path = path.to_string();
        self.machine(process.node).lints.insert(Lint { path, habit });
    }

    /// A descriptor and the volume it is on.
    #[inline]
    pub(crate) fn reach(&mut self, slot: usize) -> (&mut Descriptor, &mut Volume) {
        let descriptor = &mut self.descriptors[slot];
        let node = descriptor.process.node;
        (descriptor, &mut self.machines[node.0 as usize].volume)
    }

    /// As [`reach`](Kernel::reach), to change something at this time.
    #[inline]
    pub(crate) fn reach_now(&mut self, slot: usize) -> (&mut Descriptor, &mut Volume) {
        let (descriptor, volume) = self.reach(slot);
        volume.now = device::wall_clock(descriptor.process.node);
        (descriptor, volume)
    }

    /// Reads at an offset, or at the position of the descriptor, which moves on then.
    #[inline]
    pub(crate) fn read(
        &mut self,
        slot: usize,
        at: Option<u64>,
        want: usize,
        put: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let sector = self.options.sector.bytes();
        let (descriptor, volume) = self.reach(slot);
        if !descriptor.mode.read {
            return Err(Errno::BadDescriptor.into());
        }
        volume.may_read()?;
        let start = at.unwrap_or(descriptor.position);
        let direct = descriptor.mode.direct;
        if direct {
            aligned(start, want, sector)?;
        }
        let length =
            volume.with_content(descriptor.ino, |content, load| content.read(start, want, direct, load, put))?;
        if at.is_none() {
            descriptor.position += length as u64;
        }
        Ok(length)
    }

    /// Writes at an offset, or at the position of the descriptor, which moves on then. One that appends does so either
    /// way (pwrite(2), under "BUGS"). The length, and whether the descriptor writes through to the medium.
    #[inline]
    pub(crate) fn write(
        &mut self,
        slot: usize,
        at: Option<u64>,
        bytes: &[u8],
        path: &str,
    ) -> io::Result<(usize, bool)> {
        let limit = self.most_blocks(slot);
        let (device_cache, sector) = (self.options.device_cache, self.options.sector.bytes());
        let (descriptor, volume) = self.reach_now(slot);
        if !descriptor.mode.writes() {
            return Err(Errno::BadDescriptor.into());
        }
        let Mode { append, direct, sync, .. } = descriptor.mode;
        if bytes.is_empty() {
            return Ok((0, false));
        }
        let Descriptor { ino, process, position, .. } = *descriptor;
        let node = process.node;
        let start = if append { volume.inode(ino).content_mut()?.size() } else { at.unwrap_or(position) };
        if direct {
            aligned(start, bytes.len(), sector)?;
        }
        let mut length = room(start, bytes.len())?;
        if let Some(limit) = limit {
            length = self.fitting(slot, start, length, limit)?;
        }
        let (descriptor, volume) = self.reach(slot);
        if at.is_none() {
            descriptor.position = start + length as u64;
        }
        descriptor.failed = false;
        let in_flight = volume.change_content(ino, |content, order, load| {
            content.write(order, start, &bytes[..length], load)?;
            Ok(content.pending.len())
        });
        let in_flight = in_flight.inspect_err(|_| self.descriptors[slot].position = position)?;
        if direct {
            let volume = &mut self.machine(node).volume;
            volume.stage(ino, volume.effects(), device_cache)?;
        }
        emit(node, WRITE, &[ino.0, start, length as u64], || format!("{path}: {length} bytes at {start}"));
        if in_flight > MOST_DIRTY {
            self.write_back(node);
        }
        self.stir(node);
        Ok((length, sync))
    }

    /// Writes what is other in a range of a file than what the cache has, as far as the file goes.
    pub(crate) fn store(&mut self, node: NodeId, ino: Ino, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let volume = self.volume(node);
        let Some(size) = volume.inodes.get(&ino).and_then(Inode::content).map(Content::size) else { return Ok(()) };
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let mut rest = &bytes[..length];
        for (page, start, length) in parts(offset, length) {
            let (part, more) = rest.split_at(length);
            rest = more;
            let volume = self.volume(node);
            let now = volume.with_content(ino, |content, load| content.view(page, load))?;
            let now = &now[start..start + length];
            let Some(first) = now.iter().zip(part).position(|(now, new)| now != new) else { continue };
            let last = now.iter().zip(part).rposition(|(now, new)| now != new).unwrap_or(first);
            let (at, changed) = (page * PAGE as u64 + (start + first) as u64, &part[first..=last]);
            volume.change_content(ino, |content, order, load| content.write(order, at, changed, load))?;
            emit(node, WRITE, &[ino.0, at, changed.len() as u64], || {
                format!("a mapping: {} bytes at {at}", changed.len())
            });
        }
        self.stir(node);
        Ok(())
    }

    pub(crate) fn seek(&mut self, slot: usize, to: SeekFrom) -> io::Result<u64> {
        let (descriptor, volume) = self.reach(slot);
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => descriptor.position.checked_add_signed(by),
            SeekFrom::End(by) => volume.metadata(descriptor.ino).len().checked_add_signed(by),
        };
        descriptor.position = position.filter(|position| *position <= LONGEST).ok_or(Errno::Invalid)?;
        Ok(descriptor.position)
    }

    /// Moves to the next data or to the next hole from `offset` on (lseek(2), SEEK_DATA and SEEK_HOLE).
    ///
    /// # Errors
    /// ENXIO behind the last data.
    pub(crate) fn seek_sparse(&mut self, slot: usize, offset: u64, data: bool) -> io::Result<u64> {
        let (descriptor, volume) = self.reach(slot);
        let content = volume.inode(descriptor.ino).content_mut()?;
        let found = if data { content.next_data(offset) } else { content.next_hole(offset) };
        descriptor.position = found.ok_or(Errno::NoSuchDevice)?;
        Ok(descriptor.position)
    }

    pub(crate) fn set_size(&mut self, slot: usize, size: u64, path: &str) -> io::Result<()> {
        let (descriptor, volume) = self.reach_now(slot);
        if !descriptor.mode.writes() {
            return Err(Errno::Invalid.into());
        }
        if size > LONGEST {
            return Err(Errno::FileTooBig.into());
        }
        let (ino, node) = (descriptor.ino, descriptor.process.node);
        volume.change_content(ino, |content, order, load| content.set_size(order, size, load))?;
        emit(node, "disk.set_len", &[ino.0, size], || format!("{path}: {size} bytes"));
        self.stir(node);
        Ok(())
    }

    /// Reserves blocks, or frees them (fallocate(2)).
    pub(crate) fn allocate(
        &mut self,
        slot: usize,
        how: Allocate,
        from: u64,
        length: u64,
        path: &str,
    ) -> io::Result<()> {
        let limit = self.most_blocks(slot);
        let (descriptor, volume) = self.reach_now(slot);
        if !descriptor.mode.writes() {
            return Err(Errno::BadDescriptor.into());
        }
        if length == 0 {
            return Err(Errno::Invalid.into());
        }
        let to = from.checked_add(length).filter(|to| *to <= LONGEST).ok_or(Errno::FileTooBig)?;
        let (ino, node) = (descriptor.ino, descriptor.process.node);
        volume.inode(ino).content_mut().map_err(|_| Errno::NoSuchDevice)?;
        if let Some(limit) = limit.filter(|_| how != Allocate::PunchHole)
            && self.fitting(slot, from, length as usize, limit)? < length as usize
        {
            return Err(Errno::NoSpace.into());
        }
        let (_, volume) = self.reach(slot);
        volume.change_content(ino, |content, order, load| match how {
            Allocate::Grow | Allocate::KeepSize => {
                content.reserve(order, from, to, how == Allocate::Grow);
                Ok(())
            }
            Allocate::PunchHole => content.punch(order, from, to, load),
        })?;
        emit(node, "disk.allocate", &[ino.0, from, to, how as u64], || format!("{path}: {how:?} {from}..{to}"));
        self.stir(node);
        Ok(())
    }

    /// Something may have become dirty: the flusher of the machine wakes up in a while.
    pub(crate) fn stir(&mut self, node: NodeId) {
        self.record(node);
        self.burn(node);
        let Kernel { machines, options, .. } = self;
        let machine = &mut machines[node.0 as usize];
        let is_clean = machine.volume.dirty.is_empty() && machine.volume.names.is_empty();
        if machine.flusher_awake || is_clean {
            return;
        }
        machine.flusher_awake = true;
        let delay = machine.write_back_delay(options).as_nanos() as u64;
        let token = self.next_token();
        self.write_backs.insert(token, node);
        if let Some(id) = self.id {
            device::wake_at(id, device::now() + delay, token);
        }
    }

    /// A step towards a crash at an effect.
    pub(crate) fn burn(&mut self, node: NodeId) {
        let fault = self.machine(node).burn();
        self.crashing.extend(fault.map(|fault| (node, fault)));
    }

    /// Closes the descriptors of a node whose process died. Fsyncs under way go on, unless the memory went.
    fn node_down(&mut self, node: NodeId, how: Down) {
        self.drop_operations_of(node, how);
        let closed = self.descriptors.iter().filter(|(_, descriptor)| descriptor.process.node == node);
        let closed: Vec<usize> = closed.map(|(slot, _)| slot).collect();
        for slot in closed {
            let ino = self.descriptors.remove(slot).ino;
            self.machine(node).volume.release(ino);
        }
        self.machine(node).locks.clear();
        if how != Down::Kill {
            self.lose_memory(node);
        }
    }
}

/// What fallocate(2) does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocate {
    /// Reserves blocks, and makes the file longer where they lie behind its end.
    Grow,
    /// Reserves blocks and leaves the length alone (FALLOC_FL_KEEP_SIZE).
    KeepSize,
    /// Frees blocks: the range reads zeros, and the length stays (FALLOC_FL_PUNCH_HOLE).
    PunchHole,
}

/// O_DIRECT wants whole sectors.
fn aligned(start: u64, length: usize, sector: usize) -> io::Result<()> {
    let whole = start.is_multiple_of(sector as u64) && length.is_multiple_of(sector);
    if whole { Ok(()) } else { Err(Errno::Invalid.into()) }
}

impl Kernel {
    /// How much of a write finds blocks on the volume.
    fn fitting(&self, slot: usize, start: u64, length: usize, limit: u64) -> io::Result<usize> {
        let Descriptor { process, ino, .. } = self.descriptors[slot];
        let machine = self.known_machine(process.node);
        let free = limit.saturating_sub(machine.volume.usage().0);
        let content = machine.volume.get(ino).content();
        let needed = |length| content.map_or(0, |content| content.blocks_needed(start, length));
        if needed(length) <= free {
            return Ok(length);
        }
        machine.ills.blame_for_space();
        let ends = crate::pages::parts(start, length).scan(0, |end, (_, _, part)| {
            *end += part;
            Some(*end)
        });
        let fits = ends.take_while(|end| needed(*end) <= free).last();
        fits.ok_or_else(|| Errno::NoSpace.into())
    }
}

impl Device for Disk {
    fn node_down(&self, node: NodeId, how: Down) {
        self.act(|kernel| kernel.node_down(node, how));
    }

    fn due(&self, token: u32) {
        self.act(|kernel| match kernel.write_backs.remove(&token) {
            Some(node) => kernel.flush(node),
            None => kernel.due(token),
        });
    }

    fn heal(&self, nodes: Option<&[NodeId]>) {
        self.act(|kernel| kernel.heal(nodes));
    }

    fn describe_wait(&self, what: &'static str, token: u64) -> String {
        self.act(|kernel| kernel.describe_wait(what, token))
    }
}

impl Disk {
    /// Does something with the kernel, and then, once it is free again, wakes whom it says and cuts the power it says.
    #[inline]
    fn act<R>(&self, f: impl FnOnce(&mut Kernel) -> R) -> R {
        let mut kernel = self.0.borrow_mut();
        let result = f(&mut kernel);
        if !kernel.wakes.is_empty() || !kernel.crashing.is_empty() {
            let (wakes, crashing) = (std::mem::take(&mut kernel.wakes), std::mem::take(&mut kernel.crashing));
            drop(kernel);
            device::wake_all(wakes);
            for (node, fault) in crashing {
                fault::take_down(&fault, node, Down::PowerLoss);
            }
        }
        result
    }
}

/// Does something with the kernel of the current simulation. `what` is the public function, for the message outside one.
#[track_caller]
#[inline]
pub(crate) fn act<R>(what: &str, f: impl FnOnce(&mut Kernel) -> R) -> R {
    device::with(what, |disk: &Disk, id| {
        disk.act(|kernel| {
            kernel.id = Some(id);
            f(kernel)
        })
    })
}

/// As [`act`], for destructors: does nothing when the simulation is over.
pub(crate) fn act_if_running<R>(f: impl FnOnce(&mut Kernel) -> R) -> Option<R> {
    device::with_existing(|disk: &Disk| disk.act(f))
}
