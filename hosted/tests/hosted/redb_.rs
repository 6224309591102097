//! redb, as it is.

use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::power_losses::{Database, survive};

const NUMBERS: TableDefinition<u64, &str> = TableDefinition::new("numbers");

type Failure = Box<dyn std::error::Error>;

fn open() -> Result<(redb::Database, u64), redb::Error> {
    let mut database = redb::Database::create("/numbers.redb")?;
    if !database.check_integrity()? {
        return Err(redb::Error::Corrupted("it had to be repaired".to_string()));
    }
    let transaction = database.begin_write()?;
    transaction.open_table(NUMBERS)?;
    transaction.commit()?;
    let last = database.begin_read()?.open_table(NUMBERS)?.last()?.map_or(0, |(number, _)| number.value());
    Ok((database, last))
}

fn open_if_the_disk_works() -> Result<Option<(redb::Database, u64)>, String> {
    match open() {
        Ok(found) => Ok(Some(found)),
        Err(redb::Error::Io(_) | redb::Error::PreviousIo) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn commit(database: &redb::Database, number: u64, durability: Durability) -> Result<(), Failure> {
    let words = "a row of some length ".repeat(number as usize % 40);
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    transaction.open_table(NUMBERS)?.insert(number, &*words)?;
    Ok(transaction.commit()?)
}

struct Durable(redb::Database);
struct NotDurable(redb::Database);

impl Database for Durable {
    fn open() -> Result<Option<(Self, u64)>, String> {
        Ok(open_if_the_disk_works()?.map(|(database, last)| (Durable(database), last)))
    }

    fn commit(&mut self, number: u64) -> Result<(), String> {
        commit(&self.0, number, Durability::Immediate).map_err(|error| error.to_string())
    }
}

impl Database for NotDurable {
    fn open() -> Result<Option<(Self, u64)>, String> {
        Ok(open_if_the_disk_works()?.map(|(database, last)| (NotDurable(database), last)))
    }

    fn commit(&mut self, number: u64) -> Result<(), String> {
        // No fsync lets time pass, so that it would write for ever in one instant.
        #[expect(clippy::disallowed_methods, reason = "what hosted programs use")]
        std::thread::sleep(std::time::Duration::from_millis(1));
        commit(&self.0, number, Durability::None).map_err(|error| error.to_string())
    }
}

#[sim::test(seed = 0)]
async fn survives_a_thousand_power_losses() {
    survive::<Durable>(1_000).await;
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn without_durability_loses_what_it_acknowledged() {
    survive::<NotDurable>(20).await;
}
