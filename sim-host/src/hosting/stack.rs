//! Stacks of hosted threads, as far as they say something about the program.

/// Frames of so many calls are shown.
const SHOWN: usize = 12;

/// The frames of a backtrace in words, without those of the simulator, the standard library's start of threads and what
/// lies below the program's own call.
pub(crate) fn of_the_program(backtrace: &str) -> String {
    let mut frames: Vec<(String, String)> = Vec::new();
    for line in backtrace.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.1 = place.to_string();
            }
        } else if let Some((_, name)) = line.split_once(": ") {
            frames.push((name.to_string(), String::new()));
        }
    }
    let ours = |name: &str| {
        [
            "syscall",
            "<sim_core::",
            "sim_host::",
            "sim_core::",
            "std::backtrace",
            "__rust_begin",
            "rust_begin",
            "clone",
            "start_thread",
            "<unknown>",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
            || name.contains("FnOnce::call_once")
            || name.contains("call_once")
            || name.contains("catch_unwind")
            || name.contains("std::panicking")
            || name.contains("thread_start")
            || name.contains("__rust_begin_short_backtrace")
            || name.contains("lifecycle::spawn_unchecked")
    };
    let told = frames.into_iter().filter(|(name, _)| !ours(name)).take(SHOWN);
    told.map(|(name, place)| match place.is_empty() {
        true => format!("\n      {name}"),
        false => format!("\n      {name} ({place})"),
    })
    .collect()
}
