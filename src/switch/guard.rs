//! The outgoing guard at the door: no request leaves unread.

use super::{Output, Switch};
use crate::call::CallEvent;
use crate::events::Notice;
use crate::leg::{LegEvent, Loss};
use crate::model::LegId;
use crate::sip::guard::{self, Forbidden};
use crate::sip::wire::Method;

impl Switch {
    /// Reads a request again before it leaves. A leak stops it and ends the leg.
    pub(super) fn may_leave(&mut self, leg: Option<LegId>, bytes: &[u8], out: &mut Vec<Output>) -> bool {
        let Some(leg) = leg else { return guard::check(bytes, None, &Forbidden::default()).is_ok() };
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
}

fn method_of(request: &[u8]) -> &'static str {
    let end = request.iter().position(|b| *b == b' ').unwrap_or(0);
    std::str::from_utf8(&request[..end]).map_or(Method::Other, Method::parse).as_str().unwrap_or("other")
}
