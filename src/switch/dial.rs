//! From a dial to an admission, and back to the one who asked.

use std::net::SocketAddr;

use super::{Asking, Desk, Dial, Entry, HeldPair, IdempotencyKey, Output, Reply, Switch, Unavailable, UserLeg};
use crate::call::{BrowserPlan, Call, Connect, LegPlan, Plan};
use crate::events::Notice;
use crate::media::PortPair;
use crate::model::{CallId, RequestId, Side, Timestamp, Token};
use crate::sdp::Local;
use crate::store::{Committed, Idempotency, IssuedToken};

impl Switch {
    pub(super) fn dial(&mut self, now: Timestamp, request: RequestId, mut dial: Dial, out: &mut Vec<Output>) {
        let key = dial.idempotency.clone();
        if let Some(waiting) = key.as_ref().and_then(|key| self.repetitions.get_mut(&key.key)) {
            // The first is still being admitted: whatever becomes of it, this one is decided then.
            return waiting.push((request, dial));
        }
        let ports = match self.room_for(now, &dial) {
            Ok(ports) => ports,
            Err(why) => return out.push(Output::Reply(request, Reply::Unavailable(why))),
        };
        if let Some(key) = &key {
            self.repetitions.insert(key.key, Vec::new());
        }
        let id = self.ids.call(now);
        let (connect, token) = self.user_leg(now, &mut dial);
        let answer = (dial.answer)(id, &dial);
        let idempotency = key.clone().map(|key| Idempotency {
            key: key.key,
            body: key.body,
            request_id: key.request_id,
            answer: answer.clone(),
        });
        let plan = self.plan(id, dial, connect, ports);
        let mut actions = Vec::new();
        let held = ports.map(|pair| pair.map(|pair| HeldPair { pair, opened: false }));
        let held = Side::BOTH.into_iter().zip(held).filter_map(|(side, held)| Some((side, held?)));
        let entry = Entry {
            call: Call::start(now, plan, &mut actions),
            ports: held.collect(),
            deadline: None,
            live: true,
            asking: Some(Asking { request, answer, key }),
            hanging_up: Vec::new(),
            idempotency,
            token,
            browser: token.map(|token| Box::new(Desk::new(token.path, token.digest))),
            stored: false,
            told: None,
            telling: 0,
        };
        self.tokens.extend(token.map(|token| (token.digest, id)));
        self.calls.insert(id, Box::new(entry));
        self.live += 1;
        for action in actions {
            self.act(now, id, action, out);
        }
        self.reschedule(id);
    }

    /// Who takes leg A; for a browser, with the token that it is to come with.
    fn user_leg(&mut self, now: Timestamp, dial: &mut Dial) -> (Connect, Option<IssuedToken>) {
        match &mut dial.connect {
            UserLeg::Phone(number) => (Connect::Phone(*number), None),
            UserLeg::Browser(order) => {
                let seed = self.ids.token_seed();
                order.seed = Some(seed);
                let token = Token::of_seed(&seed, &order.opener).digest();
                let (path, expires_at) = (order.path, now + order.valid);
                let plan = BrowserPlan { path, token, expires_at, grace: self.config.grace };
                (Connect::Browser(plan), Some(IssuedToken { digest: token, path, expires_at }))
            }
        }
    }

    /// Whether a call can be placed at all, and a pair of ports for each of its phones.
    fn room_for(&mut self, now: Timestamp, dial: &Dial) -> Result<[Option<PortPair>; 2], Unavailable> {
        if self.draining.is_some() {
            return Err(Unavailable::Draining);
        }
        if self.live >= self.config.calls.max_calls {
            return Err(Unavailable::Full);
        }
        let phone = dial.connect.phone();
        if phone.into_iter().chain([dial.to]).any(|number| !self.endpoint.has_route(now, number)) {
            return Err(Unavailable::NoTrunk);
        }
        let user = phone.map(|_| self.ports.take(now).ok_or(Unavailable::NoMediaPort)).transpose()?;
        let Some(destination) = self.ports.take(now) else {
            user.into_iter().for_each(|pair| self.ports.put_back(pair));
            return Err(Unavailable::NoMediaPort);
        };
        Ok([user, Some(destination)])
    }

    fn plan(&mut self, id: CallId, dial: Dial, connect: Connect, [user, destination]: [Option<PortPair>; 2]) -> Plan {
        let user_leg = self.leg_plan(user);
        let destination_leg = self.leg_plan(destination);
        Plan {
            id,
            organization: dial.organization,
            user: dial.user,
            from: dial.from,
            to: dial.to,
            connect,
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

    fn leg_plan(&mut self, port: Option<PortPair>) -> LegPlan {
        let rtp = SocketAddr::new(self.config.media.advertised, port.map_or(0, |pair| pair.0));
        // RFC 8866 §5.2: a numeric session id; 62 bits stay clear of every parser's sign.
        let session_id = self.ids.number() >> 2;
        LegPlan { local: Local { session_id, version: 1, rtp }, port, secret: self.ids.secret() }
    }

    pub(super) fn reply_to_dial(
        &mut self,
        now: Timestamp,
        id: CallId,
        refused: Option<Committed>,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        let Some(Asking { request, answer, key }) = entry.asking.take() else { return };
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
                | Committed::Spent
                | Committed::Tripped(_)
                | Committed::Extended,
            ) => Reply::Unavailable(Unavailable::Store),
        };
        if let Some(key) = key {
            self.decide_repetitions(now, &key, &reply, out);
        }
        out.push(Output::Reply(request, reply));
    }

    /// The first dial with this key is decided. Its success is everybody's; after anything else the next
    /// one is the first.
    fn decide_repetitions(&mut self, now: Timestamp, key: &IdempotencyKey, first: &Reply, out: &mut Vec<Output>) {
        for (request, dial) in self.repetitions.remove(&key.key).unwrap_or_default() {
            let same_body = dial.idempotency.as_ref().is_some_and(|repetition| repetition.body == key.body);
            match first {
                Reply::Dialed { answer, .. } | Reply::Replayed(answer) if same_body => {
                    out.push(Output::Reply(request, Reply::Replayed(answer.clone())));
                }
                Reply::Dialed { .. } => {
                    let request_id = key.request_id.clone();
                    out.push(Output::Reply(request, Reply::Conflict { request_id }));
                }
                Reply::Replayed(_)
                | Reply::Conflict { .. }
                | Reply::Refused(_)
                | Reply::Unavailable(_)
                | Reply::Browser(_)
                | Reply::Hangup { .. }
                | Reply::NotLive
                | Reply::Route(_)
                | Reply::Draining => self.dial(now, request, dial, out),
            }
        }
    }
}
