//! When all is quiet: nobody holds a line, and nothing is left in memory.

use revbridge::switch::Gauges;

use super::{Check, Checks};
use crate::phone::Phone;
use crate::setup::PORT_PAIRS;
use crate::shell::Shell;

impl Checks {
    pub fn on_quiet<'a>(&mut self, gauges: Gauges, shell: &Shell, phones: impl Iterator<Item = &'a Phone>) {
        for phone in phones {
            self.unless(!phone.is_up(), Check::Orphan, || format!("{} is still off the hook", phone.name()));
            let rings = phone.waits_for_cancel() && self.wire.may_cancel(phone.call_id());
            self.unless(!rings, Check::Orphan, || format!("{} still rings", phone.name()));
        }
        let streams = shell.open();
        self.unless(streams == 0, Check::Ports, || format!("{streams} streams are still open"));
        let Gauges { live_calls, live_legs, calls, commits_in_flight, ports_left, .. } = gauges;
        self.unless(ports_left + shell.failed() >= PORT_PAIRS, Check::Leak, || {
            format!("{ports_left} of {PORT_PAIRS} port pairs are left")
        });
        let left =
            [("live calls", live_calls), ("live legs", live_legs), ("calls", calls), ("commits", commits_in_flight)];
        for (what, count) in left {
            self.unless(count == 0, Check::Leak, || format!("{count} {what} are left in memory"));
        }
    }
}
