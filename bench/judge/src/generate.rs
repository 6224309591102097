//! A million transactions of a store that runs one after another, as Jepsen would write them down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};

const TRANSACTIONS: u64 = 1_000_000;
const CLIENTS: u64 = 20;
const KEYS: u64 = 10;
const WRITES_PER_KEY: u64 = 32;

struct Store {
    dice: u64,
    keys: Vec<u64>,
    fresh: u64,
    asked: BTreeMap<u64, u64>,
    lists: BTreeMap<u64, Vec<u64>>,
}

/// What a transaction does: to append a value to a key, or to read it.
type Mop = (u64, Option<u64>);

impl Store {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn mop(&mut self) -> Mop {
        let place = self.roll(KEYS) as usize;
        let key = self.keys[place];
        if self.roll(2) == 0 {
            return (key, None);
        }
        let value = self.asked.entry(key).or_default();
        *value += 1;
        if *value == WRITES_PER_KEY {
            self.keys[place] = self.fresh;
            self.fresh += 1;
        }
        (key, Some(*value))
    }

    fn run(&mut self, mops: &[Mop]) -> String {
        let mut told = String::new();
        for (key, append) in mops {
            let list = self.lists.entry(*key).or_default();
            match append {
                Some(value) => {
                    list.push(*value);
                    let _ = write!(told, "[:append {key} {value}] ");
                }
                None => {
                    let words: Vec<String> = list.iter().map(u64::to_string).collect();
                    let _ = write!(told, "[:r {key} [{}]] ", words.join(" "));
                }
            }
        }
        told
    }
}

fn asked(mops: &[Mop]) -> String {
    let word = |(key, append): &Mop| match append {
        Some(value) => format!("[:append {key} {value}] "),
        None => format!("[:r {key} nil] "),
    };
    mops.iter().map(word).collect()
}

/// Writes them.
pub(crate) fn write(path: &str) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let keys = (0..KEYS).collect();
    let mut store = Store { dice: 1, keys, fresh: KEYS, asked: BTreeMap::new(), lists: BTreeMap::new() };
    let mut open: BTreeMap<u64, Vec<Mop>> = BTreeMap::new();
    let (mut begun, mut ended, mut index) = (0, 0, 0);
    while ended < TRANSACTIONS {
        let process = store.roll(CLIENTS);
        let (kind, told) = match open.remove(&process) {
            Some(mops) => {
                ended += 1;
                ("ok", store.run(&mops))
            }
            None if begun == TRANSACTIONS => continue,
            None => {
                begun += 1;
                let mops: Vec<Mop> = (0..1 + store.roll(4)).map(|_| store.mop()).collect();
                let told = asked(&mops);
                open.insert(process, mops);
                ("invoke", told)
            }
        };
        let (time, told) = (index * 1000, told.trim_end());
        writeln!(out, "{{:index {index}, :time {time}, :type :{kind}, :process {process}, :f :txn, :value [{told}]}}")?;
        index += 1;
    }
    out.flush()
}
