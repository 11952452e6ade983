//! The ladder of one run, written only when somebody will read it.

use std::fmt::Write;

use revbridge::model::Timestamp;

#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<String>,
    start: Timestamp,
}

impl Trace {
    pub fn new(kept: bool, start: Timestamp) -> Self {
        Self { lines: kept.then(String::new), start }
    }

    pub fn say(&mut self, now: Timestamp, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let at = now.since(self.start).as_secs_f64();
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{at:>12.6}  {}", line());
        }
    }

    pub fn take(&mut self) -> String {
        self.lines.take().unwrap_or_default()
    }
}
