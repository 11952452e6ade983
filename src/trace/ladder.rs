//! A trace as text: one line a message, between the two parties.

use std::fmt::Write;

use super::{Trace, Way};
use crate::model::Side;

/// Columns of an arrow.
const WIDTH: usize = 30;

/// Times are seconds from the first message.
pub fn ladder(trace: &Trace) -> String {
    let mut out =
        format!("{}\n{:>10}  {:<5}{:^28}{:^22}{:>17}\n", trace.call, "s", "User", "", "revbridge", "Destination");
    let first = trace.lines.first().map(|line| line.at).unwrap_or_default();
    for line in &trace.lines {
        let micros = line.at.since(first).as_micros();
        let mut title: String = line.title().chars().filter(|c| !c.is_control()).take(WIDTH - 10).collect();
        if line.has_sdp() {
            title.push_str(" (SDP)");
        }
        let outwards = match line.way {
            Way::Sent | Way::Withheld => true,
            Way::Received => false,
        };
        // The user stands to the left of us, the destination to the right.
        let to_right = outwards == (line.side == Side::Destination);
        let end = if line.way == Way::Withheld {
            'X'
        } else if to_right {
            '>'
        } else {
            '<'
        };
        let arrow = match to_right {
            true => format!("{title:-^width$}{end}", width = WIDTH - 1),
            false => format!("{end}{title:-^width$}", width = WIDTH - 1),
        };
        let time = format!("{}.{:03}", micros / 1_000_000, micros / 1_000 % 1_000);
        let row = match line.side {
            Side::User => format!("|{arrow}|{:WIDTH$}|", ""),
            Side::Destination => format!("|{:WIDTH$}|{arrow}|", ""),
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{time:>10}  {row}  {}", line.transport.as_str());
    }
    if trace.left_out > 0 {
        let _ = writeln!(out, "{} messages are left out", trace.left_out);
    }
    if !trace.complete {
        out.push_str("not complete: messages were left out, or the call began before this process did\n");
    }
    out
}
