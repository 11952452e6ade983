//! The door: no request leaves unread, and no INVITE without a lease.

use super::{Output, Switch};
use crate::call::CallEvent;
use crate::events::Notice;
use crate::leg::{LegEvent, Loss};
use crate::model::{LegId, Timestamp};
use crate::sip::guard::{self, Forbidden};
use crate::sip::wire::Method;

impl Switch {
    /// Reads a request again before it leaves. A leak stops it and ends the leg.
    pub(super) fn may_leave(
        &mut self,
        now: Timestamp,
        leg: Option<LegId>,
        bytes: &[u8],
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(leg) = leg else { return guard::check(bytes, None, &Forbidden::default()).is_ok() };
        if self.is_withheld(now, leg, bytes, out) {
            return false;
        }
        let Some(entry) = self.calls.get(&leg.call) else { return false };
        let forbidden = self.endpoint.forbidden(leg);
        match guard::check(bytes, Some(entry.call.plan().from), &forbidden) {
            Ok(()) => true,
            Err(leak) => {
                let LegId { call, side } = leg;
                let what = leak.to_string().into();
                out.push(Output::Notice(Notice::MaskingBlocked { call, side, method: method_of(bytes), what }));
                self.work.push_back((call, CallEvent::Leg(side, LegEvent::Lost(Loss::MaskingGuard))));
                false
            }
        }
    }

    /// Once the lease has run out, another node may have taken this call over and ended it, and an INVITE
    /// would ring a phone for nobody. To its transaction it is a packet that was lost: when the lease is
    /// renewed, the next one leaves.
    fn is_withheld(&self, now: Timestamp, leg: LegId, bytes: &[u8], out: &mut Vec<Output>) -> bool {
        let withheld = self.lease.is_some_and(|until| now >= until) && bytes.starts_with(b"INVITE ");
        if withheld {
            out.push(Output::Notice(Notice::InviteWithheld { call: leg.call, side: leg.side }));
        }
        withheld
    }
}

fn method_of(request: &[u8]) -> &'static str {
    let end = request.iter().position(|b| *b == b' ').unwrap_or(0);
    std::str::from_utf8(&request[..end]).map_or(Method::Other, Method::parse).as_str().unwrap_or("other")
}
