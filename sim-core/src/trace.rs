//! `tracing` in a recorded run: events and spans, stamped with simulated time and node, become lines of the log.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::world;

/// Runs `f` with a subscriber that writes to the log of the current world. In a sweep there is none, and `tracing`
/// costs one comparison.
pub(crate) fn recording<R>(f: impl FnOnce() -> R) -> R {
    tracing::subscriber::with_default(Registry::default().with(ToLog), f)
}

struct ToLog;

/// The name and fields of a span, kept beside it.
struct Words(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToLog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut words = Words(attributes.metadata().name().to_string());
        attributes.record(&mut words);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(words);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut words = Words(String::new());
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Words(span)) = span.extensions().get() {
                let _ = write!(words.0, "{span}: ");
            }
        }
        event.record(&mut words);
        let level = event.metadata().level().as_str();
        world::try_with(|world| {
            let node = world.nodes.borrow()[world.current_node()].name.to_string();
            world.log.borrow_mut().remark(world.now(), node, level, words.0);
        });
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let space = if self.0.is_empty() || self.0.ends_with(' ') { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}
