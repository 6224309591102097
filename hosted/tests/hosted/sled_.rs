//! sled, as it is. One life and the next: its pool of threads is a static, which believes after a kill that they are there.

use super::power_losses::{Database, lose_power_once};

const PATH: &str = "/numbers.sled";

/// A tree of numbers, each flushed when it is there.
struct Tree(sled::Db);

/// The same, with what sled makes once and does not sync: a file, its name, and that of its directory.
struct WithConfiguration(Tree);

/// The same, with its log synced too where sled has flushed it.
struct WithLog(WithConfiguration);

fn sync(name: &str) -> std::io::Result<()> {
    std::fs::File::open(format!("{PATH}/{name}"))?.sync_all()
}

impl Database for Tree {
    fn open() -> Result<Option<(Self, u64)>, String> {
        let opened = sled::open(PATH).and_then(|tree| Ok((tree.last()?, tree)));
        match opened {
            Ok((last, tree)) => Ok(Some((Tree(tree), last.map_or(0, |(key, _)| number(&key))))),
            Err(sled::Error::Io(error)) if error.raw_os_error().is_some() => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn commit(&mut self, number: u64) -> Result<(), String> {
        let inserted = self.0.insert(number.to_be_bytes(), "a row").and_then(|_| self.0.flush());
        inserted.map(drop).map_err(|error| error.to_string())
    }
}

impl Database for WithConfiguration {
    fn open() -> Result<Option<(Self, u64)>, String> {
        let opened = Tree::open()?;
        let synced = ["conf", "", ".."].into_iter().all(|name| sync(name).is_ok());
        Ok(opened.filter(|_| synced).map(|(tree, last)| (WithConfiguration(tree), last)))
    }

    fn commit(&mut self, number: u64) -> Result<(), String> {
        self.0.commit(number)
    }
}

impl Database for WithLog {
    fn open() -> Result<Option<(Self, u64)>, String> {
        Ok(WithConfiguration::open()?.map(|(tree, last)| (WithLog(tree), last)))
    }

    fn commit(&mut self, number: u64) -> Result<(), String> {
        self.0.commit(number)?;
        sync("db").map_err(|error| error.to_string())
    }
}

fn number(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn a_power_loss_takes_the_configuration_and_so_the_database() {
    lose_power_once::<Tree>().await;
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn a_flush_is_no_fsync() {
    lose_power_once::<WithConfiguration>().await;
}

#[sim::test(seeds = 20)]
async fn with_both_synced_survives_a_power_loss() {
    lose_power_once::<WithLog>().await;
}
