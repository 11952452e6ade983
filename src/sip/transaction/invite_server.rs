//! The INVITE server transaction (RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1).
//!
//! ```text
//! Proceeding  INVITE: send 1xx again   respond 1xx: send   2xx: send, Accepted   3-6xx: send, Completed
//! Completed   INVITE: send again       G: send again, twice as late up to T2     ACK: Confirmed   H: Terminated
//! Confirmed                                                                      I: Terminated
//! Accepted    INVITE: nothing          ACK: tell                                 L: Terminated
//! ```
//!
//! On a reliable transport G waits for the connection to be lost, and I is zero.
//!
//! In Accepted the transaction user sends the 2xx again until the ACK comes (RFC 3261 §13.3.1.4).

use super::{Class, Due, Retransmission, ServerInput, ServerStep};
use crate::leg::{LINGER, T2, T4};
use crate::model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteServer {
    state: State,
    reliable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Proceeding,
    /// Timers G and H.
    Completed(Retransmission),
    /// Timer I.
    Confirmed(Timestamp),
    /// Timer L.
    Accepted(Timestamp),
    Terminated,
}

impl InviteServer {
    pub fn start(reliable: bool) -> Self {
        Self { state: State::Proceeding, reliable }
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn handle(&mut self, now: Timestamp, input: ServerInput) -> ServerStep {
        match self.state {
            State::Proceeding => self.proceeding(now, input),
            State::Completed(sending) => self.completed(now, input, sending),
            State::Confirmed(until) => self.confirmed(now, input, until),
            State::Accepted(until) => self.accepted(now, input, until),
            State::Terminated => ServerStep::Nothing,
        }
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Completed(sending) => Some(sending.next_timeout()),
            State::Confirmed(until) | State::Accepted(until) => Some(until),
            State::Proceeding | State::Terminated => None,
        }
    }

    fn proceeding(&mut self, now: Timestamp, input: ServerInput) -> ServerStep {
        match input {
            ServerInput::Retransmission | ServerInput::Respond(Class::Provisional) => ServerStep::Send,
            ServerInput::Respond(Class::Success) => {
                self.state = State::Accepted(now + LINGER);
                ServerStep::Send
            }
            ServerInput::Respond(Class::Failure) => {
                self.state = State::Completed(Retransmission::on(now, self.reliable));
                ServerStep::Send
            }
            ServerInput::Ack | ServerInput::Disconnected | ServerInput::Timeout => ServerStep::Nothing,
        }
    }

    fn completed(&mut self, now: Timestamp, input: ServerInput, mut sending: Retransmission) -> ServerStep {
        match input {
            ServerInput::Retransmission => ServerStep::Send,
            ServerInput::Ack => {
                self.state = if self.reliable { State::Terminated } else { State::Confirmed(now + T4) };
                ServerStep::Nothing
            }
            ServerInput::Disconnected => {
                sending.distrust(now);
                self.state = State::Completed(sending);
                ServerStep::Nothing
            }
            ServerInput::Respond(_) => ServerStep::Nothing,
            ServerInput::Timeout => match sending.poll(now, T2) {
                Due::NotYet => ServerStep::Nothing,
                Due::Again => {
                    self.state = State::Completed(sending);
                    ServerStep::Send
                }
                Due::End => {
                    self.state = State::Terminated;
                    ServerStep::Nothing
                }
            },
        }
    }

    fn confirmed(&mut self, now: Timestamp, input: ServerInput, until: Timestamp) -> ServerStep {
        match input {
            ServerInput::Timeout => self.expire(now, until),
            ServerInput::Retransmission | ServerInput::Ack | ServerInput::Respond(_) | ServerInput::Disconnected => {
                ServerStep::Nothing
            }
        }
    }

    fn accepted(&mut self, now: Timestamp, input: ServerInput, until: Timestamp) -> ServerStep {
        match input {
            ServerInput::Ack => ServerStep::Tell,
            ServerInput::Timeout => self.expire(now, until),
            ServerInput::Retransmission | ServerInput::Respond(_) | ServerInput::Disconnected => ServerStep::Nothing,
        }
    }

    fn expire(&mut self, now: Timestamp, until: Timestamp) -> ServerStep {
        if now >= until {
            self.state = State::Terminated;
        }
        ServerStep::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::T1;

    const START: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn a_refusal_is_sent_until_its_ack() {
        let mut transaction = InviteServer::start(false);
        assert_eq!(transaction.handle(START, ServerInput::Respond(Class::Failure)), ServerStep::Send);
        assert_eq!(transaction.handle(START + T1, ServerInput::Timeout), ServerStep::Send);
        assert_eq!(transaction.handle(START + T1, ServerInput::Retransmission), ServerStep::Send);
        assert_eq!(transaction.handle(START + T1, ServerInput::Ack), ServerStep::Nothing);
        assert_eq!(transaction.handle(START + T1, ServerInput::Retransmission), ServerStep::Nothing);
        assert_eq!(transaction.next_timeout(), Some(START + T1 + T4));
    }

    #[test]
    fn an_accepted_invite_absorbs_retransmissions_and_tells_the_ack() {
        let mut transaction = InviteServer::start(false);
        assert_eq!(transaction.handle(START, ServerInput::Respond(Class::Success)), ServerStep::Send);
        assert_eq!(transaction.handle(START, ServerInput::Retransmission), ServerStep::Nothing);
        assert_eq!(transaction.handle(START, ServerInput::Ack), ServerStep::Tell);
        transaction.handle(START + LINGER, ServerInput::Timeout);
        assert!(transaction.is_terminated());
    }

    #[test]
    fn a_refusal_that_nobody_acknowledges_ends_with_timer_h() {
        let mut transaction = InviteServer::start(false);
        transaction.handle(START, ServerInput::Respond(Class::Failure));
        assert_eq!(transaction.handle(START + LINGER, ServerInput::Timeout), ServerStep::Nothing);
        assert!(transaction.is_terminated());
    }
}
