//! What an organization's calls came to, day by day: read of the same snapshot as the calls themselves.

use std::collections::BTreeMap;

use super::StoreDown;
use crate::model::{Day, Money, OrganizationId, Path, UserId};

/// What some calls came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Admitted; those that live included.
    pub calls: u64,
    /// Not over yet. Their cost is still 0.
    pub live: u64,
    /// Whose destination answered; those that live included.
    pub answered: u64,
    pub billable_seconds: u64,
    /// The costs of the records, all together.
    pub spent: Money,
    /// Held by the calls that live.
    pub reserved: Money,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.calls += other.calls;
        self.live += other.live;
        self.answered += other.answered;
        self.billable_seconds += other.billable_seconds;
        self.spent += other.spent;
        self.reserved += other.reserved;
    }
}

/// Sums of some calls of one user, on one path, that belong to one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub day: Day,
    pub user: UserId,
    pub path: Path,
    pub sums: Sums,
}

/// An organization's calls of some days, each call on the day of its admission in the organization's timezone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statement {
    /// The position of the newest thing in the outbox and the ledger that is taken into account: a call counts as
    /// over if its `call_completed` is not after this, and as live otherwise.
    pub as_of: u64,
    pub total: Sums,
    /// Only days with calls, oldest first.
    pub days: BTreeMap<Day, Sums>,
    pub users: BTreeMap<UserId, Sums>,
    /// By the name of the path.
    pub paths: BTreeMap<&'static str, Sums>,
}

impl Statement {
    /// Adds up lines of one moment. The same key may come in many of them.
    pub fn new(as_of: u64, lines: impl IntoIterator<Item = Line>) -> Self {
        let mut statement = Self { as_of, ..Self::default() };
        for Line { day, user, path, sums } in lines {
            statement.total.add(&sums);
            statement.days.entry(day).or_default().add(&sums);
            statement.users.entry(user).or_default().add(&sums);
            statement.paths.entry(path.as_str()).or_default().add(&sums);
        }
        statement
    }
}

/// Reads of the ledger. They block.
pub trait Statements {
    /// What the calls of these days, both included, came to. One moment of the store: at every instant `spent` is
    /// the sum of the costs of the records of those days. Records that were retired still count.
    fn statement(&self, organization: &OrganizationId, from: Day, to: Day) -> Result<Statement, StoreDown>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_statement_adds_up_to_its_total() {
        let line = |day, user: &str, path, micros| Line {
            day: Day(day),
            user: UserId(user.into()),
            path,
            sums: Sums { calls: 1, answered: 1, spent: Money::from_micros(micros), ..Sums::default() },
        };
        let lines = [
            line(1, "alice", Path::Bridge, 5),
            line(1, "alice", Path::Join, 7),
            line(2, "bob", Path::Bridge, 11),
            line(2, "bob", Path::Bridge, 13),
        ];
        let statement = Statement::new(9, lines);
        let sum = |parts: Vec<&Sums>| parts.iter().map(|sums| sums.spent.as_micros()).sum::<i64>();
        assert_eq!((statement.as_of, statement.total.calls, statement.total.spent), (9, 4, Money::from_micros(36)));
        assert_eq!(sum(statement.days.values().collect()), 36);
        assert_eq!(sum(statement.users.values().collect()), 36);
        assert_eq!(sum(statement.paths.values().collect()), 36);
        assert_eq!((statement.days.len(), statement.users.len(), statement.paths.len()), (2, 2, 2));
    }
}
