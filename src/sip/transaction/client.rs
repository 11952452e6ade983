//! The non-INVITE client transaction (RFC 3261 §17.1.2).
//!
//! ```text
//! Trying      E: send again, twice as late up to T2   1xx: tell, Proceeding   2-6xx: tell, Completed   F: expired, Terminated
//! Proceeding  E: send again, every T2                 1xx: tell               2-6xx: tell, Completed   F: expired, Terminated
//! Completed                                                                   2-6xx: nothing           K: Terminated
//! ```
//!
//! On a reliable transport E waits for the connection to be lost, and K is zero.

use super::{Class, ClientInput, ClientStep, Due, Retransmission};
use crate::leg::{T2, T4};
use crate::model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    state: State,
    reliable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Timers E and F.
    Trying(Retransmission),
    /// Timers E and F.
    Proceeding(Retransmission),
    /// Timer K.
    Completed(Timestamp),
    Terminated,
}

impl Client {
    /// The request leaves now.
    pub fn start(now: Timestamp, reliable: bool) -> Self {
        Self { state: State::Trying(Retransmission::on(now, reliable)), reliable }
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// No final response has come, and one may still come.
    pub fn is_pending(&self) -> bool {
        match self.state {
            State::Trying(_) | State::Proceeding(_) => true,
            State::Completed(_) | State::Terminated => false,
        }
    }

    pub fn handle(&mut self, now: Timestamp, input: ClientInput) -> ClientStep {
        match self.state {
            State::Trying(sending) => self.trying(now, input, sending),
            State::Proceeding(sending) => self.proceeding(now, input, sending),
            State::Completed(until) => self.completed(now, input, until),
            State::Terminated => ClientStep::Nothing,
        }
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Trying(sending) | State::Proceeding(sending) => Some(sending.next_timeout()),
            State::Completed(until) => Some(until),
            State::Terminated => None,
        }
    }

    fn trying(&mut self, now: Timestamp, input: ClientInput, sending: Retransmission) -> ClientStep {
        match input {
            ClientInput::Response(class) => self.answer(now, class, sending),
            ClientInput::Disconnected => self.distrust(now, sending, State::Trying),
            ClientInput::Timeout => self.again(now, sending, State::Trying),
        }
    }

    fn proceeding(&mut self, now: Timestamp, input: ClientInput, sending: Retransmission) -> ClientStep {
        match input {
            ClientInput::Response(class) => self.answer(now, class, sending),
            ClientInput::Disconnected => self.distrust(now, sending, State::Proceeding),
            ClientInput::Timeout => self.again(now, sending, State::Proceeding),
        }
    }

    fn completed(&mut self, now: Timestamp, input: ClientInput, until: Timestamp) -> ClientStep {
        match input {
            ClientInput::Response(_) | ClientInput::Disconnected => {}
            ClientInput::Timeout if now >= until => self.state = State::Terminated,
            ClientInput::Timeout => {}
        }
        ClientStep::Nothing
    }

    fn answer(&mut self, now: Timestamp, class: Class, mut sending: Retransmission) -> ClientStep {
        self.state = match class {
            Class::Provisional => {
                sending.slow_down();
                State::Proceeding(sending)
            }
            Class::Success | Class::Failure if self.reliable => State::Terminated,
            Class::Success | Class::Failure => State::Completed(now + T4),
        };
        ClientStep::Tell
    }

    fn distrust(
        &mut self,
        now: Timestamp,
        mut sending: Retransmission,
        state: fn(Retransmission) -> State,
    ) -> ClientStep {
        sending.distrust(now);
        self.state = state(sending);
        ClientStep::Nothing
    }

    fn again(&mut self, now: Timestamp, mut sending: Retransmission, state: fn(Retransmission) -> State) -> ClientStep {
        match sending.poll(now, T2) {
            Due::NotYet => ClientStep::Nothing,
            Due::Again => {
                self.state = state(sending);
                ClientStep::Retransmit
            }
            Due::End => {
                self.state = State::Terminated;
                ClientStep::Expired
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::{LINGER, T1};

    const START: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn an_unanswered_request_is_sent_eleven_times_in_all() {
        let mut transaction = Client::start(START, false);
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
        assert_eq!(sent, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    }

    #[test]
    fn the_first_final_response_is_told_and_its_retransmissions_are_not() {
        let mut transaction = Client::start(START, false);
        assert_eq!(transaction.handle(START, ClientInput::Response(Class::Provisional)), ClientStep::Tell);
        assert_eq!(transaction.handle(START + T1, ClientInput::Timeout), ClientStep::Retransmit);
        assert_eq!(transaction.next_timeout(), Some(START + T1 + T2));
        assert_eq!(transaction.handle(START + T1, ClientInput::Response(Class::Failure)), ClientStep::Tell);
        assert_eq!(transaction.handle(START + T1, ClientInput::Response(Class::Failure)), ClientStep::Nothing);
        transaction.handle(START + T1 + T4, ClientInput::Timeout);
        assert!(transaction.is_terminated());
    }

    #[test]
    fn on_a_reliable_transport_nothing_is_sent_again_until_the_connection_is_lost() {
        let mut transaction = Client::start(START, true);
        assert_eq!(transaction.next_timeout(), Some(START + LINGER));
        assert_eq!(transaction.handle(START + T1, ClientInput::Disconnected), ClientStep::Nothing);
        assert_eq!(transaction.next_timeout(), Some(START + 2 * T1));
        assert_eq!(transaction.handle(START + 2 * T1, ClientInput::Timeout), ClientStep::Retransmit);
        assert_eq!(transaction.handle(START + 2 * T1, ClientInput::Response(Class::Success)), ClientStep::Tell);
        assert!(transaction.is_terminated());
    }
}
