//! Tells the messages of legs, where traces are kept.

use bytes::Bytes;

use super::{Output, Switch};
use crate::model::{LegId, Timestamp};
use crate::sip::Flow;
use crate::trace::{Numbers, Passed, Way};

impl Switch {
    /// From now on every message of a leg is told, as [`Output::Trace`].
    pub fn trace(&mut self) {
        self.tracing = true;
        self.endpoint.trace();
    }

    /// A message that leaves, or that was stopped.
    pub(super) fn trace_sent(
        &self,
        now: Timestamp,
        leg: Option<LegId>,
        flow: Flow,
        bytes: &Bytes,
        leaves: bool,
        out: &mut Vec<Output>,
    ) {
        if let (true, Some(leg)) = (self.tracing, leg) {
            let way = if leaves { Way::Sent } else { Way::Withheld };
            self.trace_leg(now, leg, flow, way, bytes.clone(), out);
        }
    }

    pub(super) fn trace_leg(
        &self,
        at: Timestamp,
        leg: LegId,
        flow: Flow,
        way: Way,
        bytes: Bytes,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.calls.get(&leg.call) else { return };
        let plan = entry.call.plan();
        let numbers = Numbers { connect: plan.connect.phone(), from: plan.from, to: Some(plan.to) };
        let Flow { transport, local, remote } = flow;
        out.push(Output::Trace(Box::new(Passed { leg, at, way, transport, local, remote, bytes, numbers })));
    }
}
