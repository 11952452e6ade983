//! What the clients of the storm were promised, and how that is compared with records, phones and the statement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::server::{Micros, micros};
use crate::support::{Crowd, Seen, Server};

/// A minute of one leg.
const PERIOD: Micros = 10_000;
/// A talk this long cannot have been an answer that crossed the end.
const CERTAIN: Duration = Duration::from_millis(700);

pub fn user(call: usize) -> String {
    format!("+14155{call:06}")
}

pub fn destination(call: usize) -> String {
    format!("+12125{call:06}")
}

/// The call of a phone's number.
pub fn call_of(number: &str) -> usize {
    number.get(6..).and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
}

/// Every promise: the number of a call, and the id that its dial was answered with.
#[derive(Debug, Default)]
pub struct Promised {
    pub ids: BTreeMap<usize, String>,
    /// Dials that got two ids, or answers that no client should see.
    pub broken: Vec<String>,
}

impl Promised {
    /// One answer to a dial: each of its repetitions must have the same id.
    pub fn take(&mut self, call: usize, id: String) {
        let first = self.ids.entry(call).or_insert_with(|| id.clone());
        if *first != id {
            self.broken.push(format!("request {call} made two calls: {first} and {id}"));
        }
    }

    /// Everything that is not as it was promised.
    pub fn compare(&self, server: &Server, users: &Crowd, destinations: &Crowd) -> Vec<String> {
        let mut faults = self.broken.clone();
        let records = records(server, &mut faults);
        let (users, destinations) = (users.all(), destinations.all());
        let mut total = 0;
        for (call, id) in &self.ids {
            let Some(record) = records.get(id) else {
                faults.push(format!("{id} was promised, and there is no record of it"));
                continue;
            };
            total += micros(&record["cost"]);
            let rung = users.get(&user(*call)).map_or(&[][..], Vec::as_slice);
            let called = destinations.get(&destination(*call)).map_or(&[][..], Vec::as_slice);
            faults.extend(judge(id, record, rung, called));
        }
        let known: std::collections::BTreeSet<&String> = self.ids.values().collect();
        faults.extend(records.keys().filter(|id| !known.contains(id)).map(|id| format!("nobody asked for {id}")));
        let stray = |number: &&String| !self.ids.contains_key(&call_of(number));
        faults.extend(
            users
                .keys()
                .chain(destinations.keys())
                .filter(stray)
                .map(|n| format!("a phone of request {} was rung for no call", call_of(n))),
        );
        let usage = server.usage();
        let sums = &usage["total"];
        let (spent, reserved) = (micros(&sums["spent"]), micros(&sums["reserved"]));
        if (spent, reserved, sums["calls"].as_u64()) != (total, 0, Some(self.ids.len() as u64)) {
            faults.push(format!("the statement is not the sum of {} calls that cost {total}: {usage}", self.ids.len()));
        }
        if server.legs_in_use() != 0 {
            faults.push(format!("{} legs count and there is none", server.legs_in_use()));
        }
        faults
    }
}

/// Every record, page by page.
fn records(server: &Server, faults: &mut Vec<String>) -> BTreeMap<String, Value> {
    let mut records = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/calls?limit=100{cursor}")).json();
        for record in page["data"].as_array().into_iter().flatten() {
            let id = record["id"].as_str().unwrap_or_default().to_owned();
            if records.insert(id.clone(), record.clone()).is_some() {
                faults.push(format!("{id} is on two pages"));
            }
        }
        match page["meta"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return records,
        }
    }
}

/// One call: what its record says against what its phones saw.
fn judge(id: &str, record: &Value, rung: &[Seen], called: &[Seen]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: &str| faults.push(format!("{id}: {what}: {record}; the phones saw {rung:?} {called:?}"));
    let (status, cost) = (record["status"].as_str().unwrap_or_default(), micros(&record["cost"]));
    let restarted = record["end_reason"] == "server_restart";
    if !record["ended_at"].is_string() {
        fault("it is not over");
    }
    if rung.len() > 1 || called.len() > 1 {
        fault("a phone was rung twice");
    }
    let talked = |seen: &[Seen]| seen.iter().any(|seen| seen.talked);
    // The process died as B had answered, and nobody knows whether B heard of it: that costs nothing.
    let doubtful = restarted && called.iter().any(|seen| seen.status == Some(200));
    if status == "completed" && !(talked(rung) && (talked(called) || doubtful)) {
        fault("it is completed, and a phone knows of no talk");
    }
    let certain = called.iter().any(|seen| seen.talk > CERTAIN);
    if certain && status != "completed" {
        fault("its phones talked");
    }
    if !talked(rung) && cost > 0 {
        fault("it cost something, and nobody answered");
    }
    // What a process that was killed had not noted as lived through costs nothing.
    let periods = u64::from(talked(rung)) + u64::from(status == "completed" && talked(called));
    if cost > PERIOD * periods || (!restarted && status == "completed" && cost != PERIOD * periods) {
        fault("it cost something other than its phones answered for");
    }
    faults
}
