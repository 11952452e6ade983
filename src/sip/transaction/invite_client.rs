//! The INVITE client transaction (RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2).
//!
//! ```text
//! Calling     A: send again, twice as late   1xx: tell, Proceeding   2xx: tell, Accepted   3-6xx: ACK, tell, Completed   B: expired, Terminated
//! Proceeding                                 1xx: tell               2xx: tell, Accepted   3-6xx: ACK, tell, Completed
//! Completed                                                                                3-6xx: ACK                    D: Terminated
//! Accepted                                                           2xx: tell                                           M: Terminated
//! Terminated                                                         2xx: tell
//! ```
//!
//! The last line is not in the RFC: a 2xx that comes after timer B or M is still told, since somebody
//! must acknowledge it and end what it opened.
//!
//! On a reliable transport A waits for the connection to be lost. D does not become zero there: our ACK may be lost with
//! its connection, and the peer says its refusal again on another.

use super::{Class, ClientInput, ClientStep, Due, Retransmission};
use crate::leg::LINGER;
use crate::model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteClient(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Timers A and B.
    Calling(Retransmission),
    Proceeding,
    /// Timer D.
    Completed(Timestamp),
    /// Timer M.
    Accepted(Timestamp),
    Terminated,
}

impl InviteClient {
    /// The INVITE leaves now.
    pub fn start(now: Timestamp, reliable: bool) -> Self {
        Self(State::Calling(Retransmission::on(now, reliable)))
    }

    /// An INVITE that a previous process sent, or may have sent: it is not sent again.
    pub fn resume() -> Self {
        Self(State::Proceeding)
    }

    pub fn is_calling(&self) -> bool {
        matches!(self.0, State::Calling(_))
    }

    /// No final response has come, and one may still come.
    pub fn is_pending(&self) -> bool {
        match self.0 {
            State::Calling(_) | State::Proceeding => true,
            State::Completed(_) | State::Accepted(_) | State::Terminated => false,
        }
    }

    /// Gives up an INVITE that nobody answers.
    pub fn terminate(&mut self) {
        self.0 = State::Terminated;
    }

    pub fn handle(&mut self, now: Timestamp, input: ClientInput) -> ClientStep {
        match self.0 {
            State::Calling(sending) => self.calling(now, input, sending),
            State::Proceeding => self.proceeding(now, input),
            State::Completed(until) => self.completed(now, input, until),
            State::Accepted(until) => self.accepted(now, input, until),
            State::Terminated => self.terminated(input),
        }
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.0 {
            State::Calling(sending) => Some(sending.next_timeout()),
            State::Completed(until) | State::Accepted(until) => Some(until),
            State::Proceeding | State::Terminated => None,
        }
    }

    fn calling(&mut self, now: Timestamp, input: ClientInput, mut sending: Retransmission) -> ClientStep {
        match input {
            ClientInput::Response(class) => self.answer(now, class),
            ClientInput::Disconnected => {
                sending.distrust(now);
                self.0 = State::Calling(sending);
                ClientStep::Nothing
            }
            // Timer A has no cap (RFC 3261 §17.1.1.2); timer B ends it.
            ClientInput::Timeout => match sending.poll(now, LINGER) {
                Due::NotYet => ClientStep::Nothing,
                Due::Again => {
                    self.0 = State::Calling(sending);
                    ClientStep::Retransmit
                }
                Due::End => {
                    self.0 = State::Terminated;
                    ClientStep::Expired
                }
            },
        }
    }

    fn proceeding(&mut self, now: Timestamp, input: ClientInput) -> ClientStep {
        match input {
            ClientInput::Response(class) => self.answer(now, class),
            // A final response finds us on a connection of the peer's (RFC 3261 §18.2.2).
            ClientInput::Disconnected | ClientInput::Timeout => ClientStep::Nothing,
        }
    }

    fn completed(&mut self, now: Timestamp, input: ClientInput, until: Timestamp) -> ClientStep {
        match input {
            ClientInput::Response(Class::Failure) => ClientStep::Ack,
            // A fork of a proxy that does not wait for its best answer.
            ClientInput::Response(Class::Success) => ClientStep::Tell,
            ClientInput::Response(Class::Provisional) | ClientInput::Disconnected => ClientStep::Nothing,
            ClientInput::Timeout => self.expire(now, until),
        }
    }

    fn accepted(&mut self, now: Timestamp, input: ClientInput, until: Timestamp) -> ClientStep {
        match input {
            ClientInput::Response(Class::Success) => ClientStep::Tell,
            ClientInput::Response(Class::Provisional | Class::Failure) | ClientInput::Disconnected => {
                ClientStep::Nothing
            }
            ClientInput::Timeout => self.expire(now, until),
        }
    }

    fn terminated(&mut self, input: ClientInput) -> ClientStep {
        match input {
            ClientInput::Response(Class::Success) => ClientStep::Tell,
            ClientInput::Response(Class::Provisional | Class::Failure)
            | ClientInput::Disconnected
            | ClientInput::Timeout => ClientStep::Nothing,
        }
    }

    fn answer(&mut self, now: Timestamp, class: Class) -> ClientStep {
        match class {
            Class::Provisional => {
                self.0 = State::Proceeding;
                ClientStep::Tell
            }
            Class::Success => {
                self.0 = State::Accepted(now + LINGER);
                ClientStep::Tell
            }
            Class::Failure => {
                self.0 = State::Completed(now + LINGER);
                ClientStep::AckAndTell
            }
        }
    }

    fn expire(&mut self, now: Timestamp, until: Timestamp) -> ClientStep {
        if now >= until {
            self.0 = State::Terminated;
        }
        ClientStep::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::T1;

    const START: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn an_unanswered_invite_is_sent_seven_times_in_all_and_expires_after_64_t1() {
        let mut transaction = InviteClient::start(START, false);
        let mut sent = vec![];
        loop {
            let now = transaction.next_timeout().unwrap();
            match transaction.handle(now, ClientInput::Timeout) {
                ClientStep::Retransmit => sent.push(now.since(START).as_millis() as u64),
                step => {
                    assert_eq!((step, now), (ClientStep::Expired, START + LINGER));
                    break;
                }
            }
        }
        assert_eq!(sent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert_eq!(transaction.next_timeout(), None);
    }

    #[test]
    fn a_provisional_response_stops_the_retransmission() {
        let mut transaction = InviteClient::start(START, false);
        assert_eq!(transaction.handle(START, ClientInput::Response(Class::Provisional)), ClientStep::Tell);
        assert_eq!(transaction.next_timeout(), None);
    }

    #[test]
    fn a_failure_is_told_once_and_acknowledged_every_time() {
        let mut transaction = InviteClient::start(START, false);
        let failure = ClientInput::Response(Class::Failure);
        assert_eq!(transaction.handle(START, failure), ClientStep::AckAndTell);
        assert_eq!(transaction.handle(START + T1, failure), ClientStep::Ack);
        assert_eq!(transaction.handle(START + LINGER, ClientInput::Timeout), ClientStep::Nothing);
        assert_eq!(transaction.handle(START + LINGER, failure), ClientStep::Nothing);
    }

    #[test]
    fn on_a_reliable_transport_it_is_sent_again_only_after_the_connection_was_lost() {
        let mut transaction = InviteClient::start(START, true);
        assert_eq!(transaction.next_timeout(), Some(START + LINGER));
        transaction.handle(START, ClientInput::Disconnected);
        assert_eq!(transaction.handle(START + T1, ClientInput::Timeout), ClientStep::Retransmit);
        transaction.handle(START + T1, ClientInput::Response(Class::Provisional));
        assert_eq!(transaction.handle(START + T1, ClientInput::Disconnected), ClientStep::Nothing);
        assert_eq!(transaction.next_timeout(), None);
        assert_eq!(transaction.handle(START + T1, ClientInput::Response(Class::Failure)), ClientStep::AckAndTell);
        assert_eq!(transaction.handle(START + T1, ClientInput::Response(Class::Failure)), ClientStep::Ack);
    }

    #[test]
    fn every_success_is_told() {
        let mut transaction = InviteClient::start(START, false);
        let success = ClientInput::Response(Class::Success);
        assert_eq!(transaction.handle(START, success), ClientStep::Tell);
        assert_eq!(transaction.handle(START + T1, success), ClientStep::Tell);
        assert_eq!(transaction.handle(START, ClientInput::Response(Class::Failure)), ClientStep::Nothing);
        assert_eq!(transaction.handle(START + LINGER, ClientInput::Timeout), ClientStep::Nothing);
        assert_eq!(transaction.handle(START + LINGER, success), ClientStep::Tell);
    }
}
