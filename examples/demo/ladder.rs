//! The call as it happens: the server's log of signals, drawn between the two phones.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::processes::Server;

const LANE: usize = 28;
/// As wide as the longest status.
const MIDDLE: usize = 19;

/// Draws one call.
pub struct Ladder<'a> {
    call: &'a str,
    start: Instant,
}

impl<'a> Ladder<'a> {
    pub fn new(call: &'a str) -> Self {
        Self { call, start: Instant::now() }
    }

    /// Draws until the server says that the call has ended and both legs are quiet, for `longest`;
    /// `true` when it ended.
    pub fn show(&self, server: &mut Server, longest: Duration) -> anyhow::Result<bool> {
        println!(
            "{:>9}  {:<LANE$}  {:^MIDDLE$}  {:<LANE$}",
            "", "A: the user's phone", "revbridge", "B: the destination"
        );
        let mut deadline = self.start + longest;
        let mut ended = false;
        while let Some(event) = server.next_event(deadline)? {
            if event["call"] != self.call {
                continue;
            }
            self.draw(&event);
            if event["message"] == "call ended" && !ended {
                ended = true;
                // The answers to the last BYE are still on their way.
                deadline = Instant::now() + Duration::from_millis(700);
            }
        }
        Ok(ended)
    }

    fn draw(&self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match event["message"].as_str() {
            Some("signal") => {
                let sent = event["sent"].as_bool().unwrap_or_default();
                let (a, b) = match event["leg"].as_str() {
                    Some("A") => (arrow(&text("summary"), !sent), String::new()),
                    _ => (String::new(), arrow(&text("summary"), sent)),
                };
                self.line(&a, "│", &b);
            }
            Some("call status") => self.line("", &text("status"), ""),
            Some("call ended") => self.line("", &format!("{} ({})", text("status"), text("end_reason")), ""),
            Some(message) if event["level"] == "ERROR" => {
                println!("           {message}: {} {}", text("method"), text("what"));
            }
            _ => {}
        }
    }

    fn line(&self, a: &str, middle: &str, b: &str) {
        let at = format!("{:.3} s", self.start.elapsed().as_secs_f64());
        println!("{at:>9}  {a:<LANE$}  {middle:^MIDDLE$}  {b:<LANE$}");
    }
}

/// An arrow of one lane's width, with the message in it.
fn arrow(summary: &str, rightwards: bool) -> String {
    let line = format!("{:─^width$}", format!(" {summary} "), width = LANE - 1);
    if rightwards { format!("{line}▶") } else { format!("◀{line}") }
}
