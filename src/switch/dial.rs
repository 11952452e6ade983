//! From a dial to an admission, and back to the one who asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Dial, Entry, Output, Reply, Switch, Unavailable};
use crate::call::{Call, LegPlan, Plan};
use crate::events::Notice;
use crate::media::PortPair;
use crate::model::{CallId, RequestId, Side, Timestamp};
use crate::sdp::Local;
use crate::store::{Committed, Idempotency};

impl Switch {
    pub(super) fn dial(&mut self, now: Timestamp, request: RequestId, dial: Dial, out: &mut Vec<Output>) {
        let ports = match self.room_for(now, &dial) {
            Ok(ports) => ports,
            Err(why) => return out.push(Output::Reply(request, Reply::Unavailable(why))),
        };
        let id = self.ids.call(now);
        let answer = (dial.answer)(id, &dial);
        let idempotency = dial.idempotency.clone().map(|key| Idempotency {
            key: key.key,
            body: key.body,
            request_id: key.request_id,
            answer: answer.clone(),
        });
        let plan = self.plan(id, dial, ports);
        let mut actions = Vec::new();
        let entry = Entry {
            call: Call::start(now, plan, &mut actions),
            ports: BTreeMap::from([(Side::User, ports[0]), (Side::Destination, ports[1])]),
            deadline: None,
            live: true,
            request: Some((request, answer)),
            idempotency,
            stored: false,
        };
        self.calls.insert(id, entry);
        self.live += 1;
        for action in actions {
            self.act(now, id, action, out);
        }
        self.reschedule(id);
    }

    /// Whether a call can be placed at all, and its two pairs of ports.
    fn room_for(&mut self, now: Timestamp, dial: &Dial) -> Result<[PortPair; 2], Unavailable> {
        if self.draining.is_some() {
            return Err(Unavailable::Draining);
        }
        if self.live >= self.config.calls.max_calls {
            return Err(Unavailable::Full);
        }
        if self.endpoint.route(dial.connect).is_none() || self.endpoint.route(dial.to).is_none() {
            return Err(Unavailable::NoTrunk);
        }
        let user = self.ports.take(now).ok_or(Unavailable::NoMediaPort)?;
        let Some(destination) = self.ports.take(now) else {
            self.ports.release(now, user);
            return Err(Unavailable::NoMediaPort);
        };
        Ok([user, destination])
    }

    fn plan(&mut self, id: CallId, dial: Dial, [user, destination]: [PortPair; 2]) -> Plan {
        let user_leg = self.leg_plan(user);
        let destination_leg = self.leg_plan(destination);
        Plan {
            id,
            organization: dial.organization,
            user: dial.user,
            from: dial.from,
            to: dial.to,
            connect: dial.connect,
            confirm: dial.confirm,
            ring_timeout: dial.ring_timeout,
            max_duration: dial.max_duration,
            client_name: dial.client_name,
            client_label: dial.client_label,
            failure_tone: self.config.calls.failure_tone,
            confirm_timeout: self.config.calls.confirm_timeout,
            user_leg,
            destination_leg,
        }
    }

    fn leg_plan(&mut self, port: PortPair) -> LegPlan {
        let rtp = SocketAddr::new(self.config.media.advertised, port.0);
        // RFC 8866 §5.2: a numeric session id; 62 bits stay clear of every parser's sign.
        let session_id = self.ids.number() >> 2;
        LegPlan { local: Local { session_id, version: 1, rtp }, port, secret: self.ids.secret() }
    }

    pub(super) fn reply_to_dial(&mut self, id: CallId, refused: Option<Committed>, out: &mut Vec<Output>) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        let Some((request, answer)) = entry.request.take() else { return };
        let reply = match refused {
            None => {
                entry.stored = true;
                Reply::Dialed { call: id, answer }
            }
            Some(Committed::Refused(refusal)) => {
                out.push(Output::Notice(Notice::AttemptRefused {
                    organization: entry.call.plan().organization.clone(),
                    guardrail: refusal.guardrail(),
                }));
                Reply::Refused(refusal)
            }
            Some(Committed::Replayed(answer)) => Reply::Replayed(answer),
            Some(Committed::Conflict { request_id }) => Reply::Conflict { request_id },
            Some(
                Committed::Unavailable
                | Committed::Done
                | Committed::Admitted { .. }
                | Committed::Permitted(_)
                | Committed::Extended,
            ) => Reply::Unavailable(Unavailable::Store),
        };
        out.push(Output::Reply(request, reply));
    }
}
