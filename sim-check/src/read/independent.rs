//! Histories of many keys at once: every value is `[key value]`, as Jepsen's `independent` writes them.

use std::collections::BTreeMap;

use super::event::ClientEvent;
use super::value::Value;

/// The events of each key, if all values are pairs, and some read asks for `[key nil]` or some swap for `[key [from to]]`.
///
/// ```
/// use sim_check::read::{by_key, events};
///
/// let events = events(
///     "{:process 0 :type :invoke :f :read :value [x nil]} {:process 0 :type :ok :f :read :value [x 3]}",
/// )?;
/// let keys = by_key(&events).expect("pairs of a key and a value");
/// assert_eq!(keys.len(), 1);
/// assert_eq!(keys.values().next().expect("the key")[1].value, 3.into());
/// # Ok::<(), sim_check::read::ReadError>(())
/// ```
pub fn by_key(events: &[ClientEvent]) -> Option<BTreeMap<Value, Vec<ClientEvent>>> {
    if !is_independent(events.iter().map(|event| (event.f.as_str(), &event.value))) {
        return None;
    }
    let mut keys: BTreeMap<Value, Vec<ClientEvent>> = BTreeMap::new();
    for event in events {
        let Value::List(pair) = &event.value else { return None };
        let inner = ClientEvent { value: pair[1].clone(), ..event.clone() };
        keys.entry(pair[0].clone()).or_default().push(inner);
    }
    Some(keys)
}

/// Whether values are pairs of a key and a value: all of them are pairs, and some asks for `[key nil]` or swaps
/// `[key [from to]]`.
pub(super) fn is_independent<'v>(values: impl Iterator<Item = (&'v str, &'v Value)>) -> bool {
    let mut sure = false;
    for (f, value) in values {
        match value.members() {
            [_, Value::Nil] => sure = true,
            [_, swap] => sure |= f == "cas" && swap.members().len() == 2,
            _ => return false,
        }
    }
    sure
}
