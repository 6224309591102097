//! A bank: transfers move money, so what all accounts hold together stays the same.

use std::collections::BTreeMap;

use super::{Fold, acknowledges, evidence};
use crate::read::{ClientEvent, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks reads of `{account balance ...}`, or of `[balance ...]` of accounts 0, 1, ...: the accounts and the total are
/// those of the first read, and no balance is negative.
pub fn bank() -> Bank {
    Bank { total: None, negative: false, accounts: None }
}

/// The check that [`bank()`] makes.
#[derive(Clone, Debug)]
pub struct Bank {
    total: Option<i64>,
    negative: bool,
    accounts: Option<BTreeMap<Value, ()>>,
}

impl Bank {
    /// What all accounts hold together; by default, what the first read finds.
    pub fn total(mut self, total: i64) -> Self {
        self.total = Some(total);
        self
    }

    /// Allows balances below zero.
    pub fn negative_balances(mut self) -> Self {
        self.negative = true;
        self
    }

    fn problem(&mut self, balances: &[(Value, Value)]) -> Option<String> {
        let here = |accounts: &BTreeMap<Value, ()>, account| accounts.contains_key(account);
        let accounts =
            self.accounts.get_or_insert_with(|| balances.iter().map(|(name, _)| (name.clone(), ())).collect());
        let mut sum = 0_i64;
        for (account, balance) in balances {
            let Value::Int(balance) = balance else {
                return Some(format!("read a balance of {balance} in account {account} at event {{at}}"));
            };
            if !here(accounts, account) {
                return Some(format!("read account {account} at event {{at}}, which there was not at first"));
            }
            if *balance < 0 && !self.negative {
                return Some(format!("read a balance of {balance} in account {account} at event {{at}}"));
            }
            sum = sum.saturating_add(*balance);
        }
        let total = *self.total.get_or_insert(sum);
        (sum != total).then(|| format!("read balances at event {{at}} that sum up to {sum} instead of {total}"))
    }
}

impl Fold for Bank {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        let numbered: Vec<(Value, Value)>;
        let balances: &[(Value, Value)] = match &event.value {
            Value::Map(balances) => balances,
            Value::List(balances) => {
                numbered = (0..).map(Value::Int).zip(balances.iter().cloned()).collect();
                &numbered
            }
            Value::Nil => &[],
            _ => return None,
        };
        if !acknowledges(event, "read") {
            return None;
        }
        let problem = self.problem(balances)?.replace("{at}", &event.moment.index.to_string());
        Some(evidence(event, format!("client-{} {problem}", event.process)))
    }

    fn finish(&mut self) -> Verdict {
        match self.accounts {
            Some(_) => Verdict::Valid,
            None => Verdict::Vacuous("no read of the balances was acknowledged".to_string()),
        }
    }
}
