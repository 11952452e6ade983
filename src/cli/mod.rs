//! `revbridge org|user|number|key|price|changes|reload`: a client of the admin API of a server that runs.
//!
//! ```text
//! arguments ─▶ Request ─▶ HTTP ─▶ /v1/admin ─▶ table, or JSON as it came
//! ```
//!
//! So there is one way to change anything, with one set of rules and one audit log. Exit codes: 0 done, 1 refused,
//! 2 the command line is wrong, 3 the server cannot be reached, 4 the key is missing or wrong.
//!
//! What needs no server, or works beside one on the file itself (audit, backup, erasure), is in [`books`].
//!
//! Deliberately absent: changes without a server. Two writers on one file are refused, and rules are the server's.

mod arguments;
pub mod books;
mod client;
mod output;
mod requests;
pub mod trace;

pub use arguments::{Access, ChangesArguments, KeyCommand, NumberCommand, OrgCommand, PriceCommand, UserCommand};
pub use requests::Request;

use std::process::ExitCode;

use self::client::{Client, Failure};
use self::requests::Shape;

/// Pages that a list is read in.
const PAGE: usize = 100;

/// Sends the request and prints what comes back.
pub fn run(access: &Access, request: Request) -> ExitCode {
    match Client::new(access).and_then(|client| answer(&client, &request)) {
        Ok(data) => {
            output::print(&data, request.shape, access.json);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("revbridge: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// `data` of the answer; of a list, of all of its pages, up to as many as were asked for.
fn answer(client: &Client, request: &Request) -> Result<serde_json::Value, Failure> {
    let Shape::List { most, .. } = request.shape else {
        return Ok(client.send(request.method, &request.path, request.body.as_ref())?["data"].take());
    };
    let mut all = Vec::new();
    let mut cursor = String::new();
    while all.len() < most {
        let join = if request.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{join}limit={}{cursor}", request.path, PAGE.min(most - all.len()));
        let mut page = client.send(request.method, &path, None)?;
        all.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
        match page["meta"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(all.into())
}
