//! The environment variables of hosted programs: per node, and nothing of the real ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

use sim_core::NodeId;

use super::device::Hosts;

unsafe extern "C" {
    /// environ(7).
    static mut environ: *const *const c_char;
}

/// The variables of a node, in the form that C has them.
#[derive(Default)]
pub(crate) struct Variables {
    texts: BTreeMap<Vec<u8>, CString>,
    /// What C programs hold pointers to stays: a variable that is replaced is kept here.
    replaced: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Variables {
    pub(crate) fn set(&mut self, name: &OsStr, value: &OsStr) {
        let mut text = name.as_bytes().to_vec();
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        if let Ok(text) = CString::new(text) {
            self.replaced.extend(self.texts.insert(name.as_bytes().to_vec(), text));
            self.point();
        }
    }

    pub(crate) fn remove(&mut self, name: &OsStr) {
        self.replaced.extend(self.texts.remove(name.as_bytes()));
        self.point();
    }

    pub(crate) fn clear(&mut self) {
        self.replaced.extend(std::mem::take(&mut self.texts).into_values());
        self.point();
    }

    /// The value of a variable, as C has it.
    pub(crate) fn get(&self, name: &[u8]) -> *const c_char {
        match self.texts.get(name) {
            // SAFETY: the text begins with the name and a `=`.
            Some(text) => unsafe { text.as_ptr().add(name.len() + 1) },
            None => std::ptr::null(),
        }
    }

    /// The list of them all, with a null pointer at its end; `None` where there never was any.
    fn pointers(&self) -> Option<*const *const c_char> {
        (!self.pointers.is_empty()).then_some(self.pointers.as_ptr())
    }

    fn point(&mut self) {
        self.pointers = self.texts.values().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
    }
}

/// No variables: the null pointer that ends the list.
static NONE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The variables that were there before a program ran.
pub(crate) struct Outside(*const *const c_char);

/// Does something with the variables of the node that runs.
pub(crate) fn with<R>(f: impl FnOnce(&mut Variables) -> R) -> R {
    let node = sim_core::current_node().id();
    let hosts = super::device::hosts();
    let result = f(hosts.variables.borrow_mut().entry(node).or_default());
    show(&hosts, node);
    result
}

/// Lets `environ` show the variables of a node, where no other thread of the process may read it.
fn show(hosts: &Hosts, node: NodeId) {
    if !crate::leak::has_process() {
        return;
    }
    let pointers = hosts.variables.borrow().get(&node).and_then(Variables::pointers);
    let empty = NONE.as_ptr().cast_const().cast();
    // SAFETY: the pointer stays valid until the variables change, which shows the new ones; only the thread with the
    // baton reads or writes it while a simulation hosts programs.
    unsafe { environ = pointers.unwrap_or(empty) };
}

/// A hosted program of `node` is about to run: `environ` is its own, where no other thread of the process may read it.
#[inline]
pub(crate) fn enter(node: NodeId) -> Option<Outside> {
    let hosts = crate::leak::has_process().then(super::device::existing).flatten()?;
    // SAFETY: as in `show`.
    let outside = Outside(unsafe { environ });
    show(&hosts, node);
    Some(outside)
}

/// The program has stopped running.
#[inline]
pub(crate) fn leave(outside: Option<Outside>) {
    if let Some(outside) = outside {
        // SAFETY: as in `show`.
        unsafe { environ = outside.0 };
    }
}

pub(crate) type All = RefCell<BTreeMap<NodeId, Variables>>;
