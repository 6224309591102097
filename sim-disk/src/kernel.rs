//! The device: the volume of every machine, the descriptors of its processes, and the fsyncs under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::task::Waker;
use std::time::Duration;

use sim_core::NodeId;
use sim_core::device::{self, Device, DeviceId, Down, Process, emit};
use sim_core::event::EventKind;
use slab::Slab;

use crate::content::LONGEST;
use crate::errno::Errno;
use crate::open::Mode;
use crate::path::Normal;
use crate::sync::Sync;
use crate::volume::{Ino, Volume};

const WRITE: EventKind = EventKind::new("disk.write");

/// The options of every disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The least simulated time an fsync takes.
    pub fsync_latency_min: Duration,
    /// The time that it stays below; every fsync draws between the two.
    pub fsync_latency_max: Duration,
    /// Whether an fsync makes every earlier change of names on its disk durable too, that of the file itself among them,
    /// as the journals of ext4 and XFS do in practice. POSIX promises it nowhere, and fsync(2) asks for an fsync of the
    /// directory.
    pub sync_file_implies_entry: bool,
}

impl Default for Options {
    /// Half a millisecond to five, and an fsync of a file says nothing about its name.
    fn default() -> Self {
        Options {
            fsync_latency_min: Duration::from_micros(500),
            fsync_latency_max: Duration::from_millis(5),
            sync_file_implies_entry: false,
        }
    }
}

/// The options in force.
#[track_caller]
pub fn options() -> Options {
    act("disk::options", |kernel| kernel.options.clone())
}

/// Changes the options of every disk from now on.
#[track_caller]
pub fn set_options(options: Options) {
    act("disk::set_options", |kernel| kernel.options = options);
}

/// The disks as a device of the simulation.
#[derive(Default)]
pub struct Disk(RefCell<Kernel>);

/// An open file description (open(2)): what the clones of a file share.
pub(crate) struct Descriptor {
    pub(crate) process: Process,
    pub(crate) ino: Ino,
    pub(crate) mode: Mode,
    position: u64,
    /// How many files and fsyncs use it.
    handles: u32,
    /// The failed fsyncs of the inode that this descriptor knows of.
    pub(crate) errors: u32,
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) options: Options,
    pub(crate) id: Option<DeviceId>,
    volumes: Vec<Volume>,
    pub(crate) descriptors: Slab<Descriptor>,
    /// Fsyncs under way, and those whose result nobody has taken yet.
    pub(crate) syncs: BTreeMap<u32, Sync>,
    pub(crate) next_sync: u32,
    /// To be woken once the kernel is no longer borrowed.
    pub(crate) wakes: Vec<Waker>,
}

impl Kernel {
    #[inline]
    pub(crate) fn volume(&mut self, node: NodeId) -> &mut Volume {
        let place = node.0 as usize;
        while self.volumes.len() <= place {
            self.volumes.push(Volume::new(NodeId(self.volumes.len() as u32)));
        }
        &mut self.volumes[place]
    }

    /// Opens a descriptor. True: the file is new.
    pub(crate) fn open(&mut self, process: Process, path: &Normal, mode: Mode) -> io::Result<(usize, bool)> {
        let volume = self.volume(process.node);
        let (ino, is_new) = volume.open(path, mode)?;
        volume.hold(ino);
        let errors = volume.inode(ino).sample_errors();
        let descriptor = Descriptor { process, ino, mode, position: 0, handles: 1, errors };
        Ok((self.descriptors.insert(descriptor), is_new))
    }

    pub(crate) fn duplicate(&mut self, slot: usize) {
        self.descriptors[slot].handles += 1;
    }

    pub(crate) fn close(&mut self, slot: usize) {
        let descriptor = &mut self.descriptors[slot];
        descriptor.handles -= 1;
        if descriptor.handles == 0 {
            let Descriptor { process, ino, .. } = self.descriptors.remove(slot);
            self.volume(process.node).release(ino);
        }
    }

    /// A descriptor and the volume it is on.
    #[inline]
    pub(crate) fn reach(&mut self, slot: usize) -> (&mut Descriptor, &mut Volume) {
        let descriptor = &mut self.descriptors[slot];
        let node = descriptor.process.node;
        (descriptor, &mut self.volumes[node.0 as usize])
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
        let (descriptor, volume) = self.reach(slot);
        if !descriptor.mode.read {
            return Err(Errno::BadDescriptor.into());
        }
        let length = volume.content(descriptor.ino)?.read(at.unwrap_or(descriptor.position), want, put);
        if at.is_none() {
            descriptor.position += length as u64;
        }
        Ok(length)
    }

    /// Writes at an offset, or at the position of the descriptor, which moves on then. One that appends does so either
    /// way (pwrite(2), under "BUGS").
    #[inline]
    pub(crate) fn write(&mut self, slot: usize, at: Option<u64>, bytes: &[u8], path: &str) -> io::Result<usize> {
        let (descriptor, volume) = self.reach(slot);
        if !descriptor.mode.writes() {
            return Err(Errno::BadDescriptor.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let (ino, order) = (descriptor.ino, volume.next_effect());
        let content = volume.content(ino)?;
        let start = if descriptor.mode.append { content.size() } else { at.unwrap_or(descriptor.position) };
        let room = LONGEST.saturating_sub(start);
        if room == 0 {
            return Err(Errno::FileTooBig.into());
        }
        let length = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        content.write(order, start, &bytes[..length]);
        if at.is_none() {
            descriptor.position = start + length as u64;
        }
        let fields = [ino.0 as u64, start, length as u64];
        emit(descriptor.process.node, WRITE, &fields, || format!("{path}: {length} bytes at {start}"));
        Ok(length)
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

    pub(crate) fn set_size(&mut self, slot: usize, size: u64, path: &str) -> io::Result<()> {
        let (descriptor, volume) = self.reach(slot);
        if !descriptor.mode.writes() {
            return Err(Errno::Invalid.into());
        }
        if size > LONGEST {
            return Err(Errno::FileTooBig.into());
        }
        let order = volume.next_effect();
        volume.content(descriptor.ino)?.set_size(order, size);
        let fields = [descriptor.ino.0 as u64, size];
        emit(descriptor.process.node, "disk.set_len", &fields, || format!("{path}: {size} bytes"));
        Ok(())
    }

    /// Closes the descriptors of a node whose process died. Fsyncs under way go on, unless the power went.
    fn node_down(&mut self, node: NodeId, how: Down) {
        self.drop_syncs_of(node, how);
        let closed = self.descriptors.iter().filter(|(_, descriptor)| descriptor.process.node == node);
        let closed: Vec<usize> = closed.map(|(slot, _)| slot).collect();
        for slot in closed {
            let ino = self.descriptors.remove(slot).ino;
            self.volume(node).release(ino);
        }
        if how != Down::Kill {
            self.volume(node).lose_power();
        }
    }
}

impl Device for Disk {
    fn node_down(&self, node: NodeId, how: Down) {
        self.act(|kernel| kernel.node_down(node, how));
    }

    fn due(&self, token: u32) {
        self.act(|kernel| kernel.complete(token));
    }

    fn describe_wait(&self, what: &'static str, token: u64) -> String {
        self.act(|kernel| kernel.describe_wait(what, token))
    }
}

impl Disk {
    /// Does something with the kernel, and wakes whom it says once it is free again.
    #[inline]
    fn act<R>(&self, f: impl FnOnce(&mut Kernel) -> R) -> R {
        let mut kernel = self.0.borrow_mut();
        let result = f(&mut kernel);
        if !kernel.wakes.is_empty() {
            let wakes = std::mem::take(&mut kernel.wakes);
            drop(kernel);
            device::wake_all(wakes);
        }
        result
    }
}

/// Does something with the kernel of the current simulation. `what` is the public function, for the message outside one.
#[track_caller]
#[inline]
pub(crate) fn act<R>(what: &str, f: impl FnOnce(&mut Kernel) -> R) -> R {
    let (disk, id) = device::device::<Disk>(what);
    disk.act(|kernel| {
        kernel.id = Some(id);
        f(kernel)
    })
}

/// As [`act`], for destructors: does nothing when the simulation is over.
pub(crate) fn act_if_running<R>(f: impl FnOnce(&mut Kernel) -> R) -> Option<R> {
    device::existing::<Disk>().map(|(disk, _)| disk.act(f))
}
