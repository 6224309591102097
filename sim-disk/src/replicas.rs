//! Whether replicas hold the same.

use std::path::Path;

use sim_core::Node;

use crate::kernel::act;
use crate::open::Follow;
use crate::volume::Volume;

/// Compares a file of several machines: what was written to it, cached or not, whatever is wrong with their media.
///
/// # Errors
/// Names two machines that differ, and the first byte at which they do; or one that has no such file.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn same_on(nodes: &[Node], path: impl AsRef<Path>) -> Result<(), String> {
    let path = path.as_ref();
    let mut first: Option<(Node, Vec<u8>)> = None;
    for node in nodes {
        let written = act("disk::same_on", |kernel| kernel.machine(node.id()).volume.written(path));
        let written = written.map_err(|error| format!("{} of {}: {error}", path.display(), node.name()))?;
        let Some((other, bytes)) = &first else {
            first = Some((*node, written));
            continue;
        };
        if written != *bytes {
            let same = written.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let (path, one, other) = (path.display(), other.name(), node.name());
            return Err(format!("{path} differs between {one} and {other} from byte {same} on"));
        }
    }
    Ok(())
}

impl Volume {
    /// The bytes of a file as they were written.
    fn written(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let mut inode = self.get(self.resolve(path, Follow::Always)?).clone();
        let mut bytes = Vec::new();
        let content = inode.content_mut()?;
        content.read(0, usize::MAX, false, &mut |_, page, _| Ok(page.clone()), |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }
}
