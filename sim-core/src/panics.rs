//! Panics inside a simulation: caught, kept and told in the report instead of printed.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::world;

thread_local! {
    static LAST: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

/// A panic that was caught.
pub(crate) struct Caught {
    pub(crate) message: String,
    pub(crate) place: String,
    pub(crate) backtrace: Option<String>,
}

impl Caught {
    /// The panic in words; `place` says where in the simulation.
    pub(crate) fn explain(&self, place: &str) -> String {
        let mut message = format!("{}\npanicked at {} {place}", self.message, self.place);
        message.extend(self.backtrace.iter().flat_map(|trace| ["\n", trace]));
        message
    }
}

/// The payload with which a failed check leaves its task; the failure itself is already in the world.
pub(crate) struct AlreadyReported;

/// Unwinds out of the current poll after a failure has been put into the world.
pub(crate) fn leave() -> ! {
    panic::resume_unwind(Box::new(AlreadyReported))
}

/// Makes panics inside simulations silent; those outside go where they went before.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if world::try_with(|_| ()).is_none() {
                return previous(info);
            }
            let place = info.location().map_or_else(|| "an unknown place".to_string(), ToString::to_string);
            let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
            let backtrace = wanted.then(|| std::backtrace::Backtrace::force_capture().to_string());
            let caught = Caught { message: text(info.payload()), place, backtrace };
            world::try_with(|world| world.hosted_panic(&caught));
            let _ = LAST.try_with(|last| last.replace(Some(caught)));
        }));
    });
}

fn text(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic whose payload is not text".to_string())
}

/// Calls `f`. A panic is returned, except the one of [`leave`], which gives `Err(None)`.
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Option<Caught>> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        if payload.is::<AlreadyReported>() {
            return None;
        }
        let message = text(&*payload);
        // The last panic that was seen is another one when the program resumed an older payload.
        let last = LAST.with(|last| last.take()).filter(|last| last.message == message);
        let unknown = || Caught { message, place: "an unknown place".to_string(), backtrace: None };
        let caught = last.unwrap_or_else(unknown);
        if let Err(worse) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // Its destructor panics as well; one more try would be one too many.
            std::mem::forget(worse);
        }
        Some(caught)
    })
}

/// Calls `f`, a destructor whose panic would hide what is really going on.
pub(crate) fn swallow(f: impl FnOnce()) {
    let _ = catch(f);
}
