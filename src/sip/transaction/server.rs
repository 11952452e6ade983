//! The non-INVITE server transaction (RFC 3261 §17.2.2).
//!
//! ```text
//! Trying      request: nothing      respond 2-6xx: send, Completed
//! Completed   request: send again                                    J: Terminated
//! ```
//!
//! On a reliable transport J is zero.
//!
//! Deliberately absent: Proceeding. We answer every such request at once or, for an UPDATE whose offer
//! the call must judge, with a final response only (RFC 4320 §4.1).

use super::{Class, ServerInput, ServerStep};
use crate::leg::LINGER;
use crate::model::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    state: State,
    reliable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trying,
    /// Timer J.
    Completed(Timestamp),
    Terminated,
}

impl Server {
    pub fn start(reliable: bool) -> Self {
        Self { state: State::Trying, reliable }
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn handle(&mut self, now: Timestamp, input: ServerInput) -> ServerStep {
        match self.state {
            State::Trying => self.trying(now, input),
            State::Completed(until) => self.completed(now, input, until),
            State::Terminated => ServerStep::Nothing,
        }
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Completed(until) => Some(until),
            State::Trying | State::Terminated => None,
        }
    }

    fn trying(&mut self, now: Timestamp, input: ServerInput) -> ServerStep {
        match input {
            ServerInput::Respond(Class::Success | Class::Failure) => {
                self.state = if self.reliable { State::Terminated } else { State::Completed(now + LINGER) };
                ServerStep::Send
            }
            ServerInput::Respond(Class::Provisional)
            | ServerInput::Retransmission
            | ServerInput::Ack
            | ServerInput::Disconnected
            | ServerInput::Timeout => ServerStep::Nothing,
        }
    }

    fn completed(&mut self, now: Timestamp, input: ServerInput, until: Timestamp) -> ServerStep {
        match input {
            ServerInput::Retransmission => ServerStep::Send,
            ServerInput::Timeout if now >= until => {
                self.state = State::Terminated;
                ServerStep::Nothing
            }
            ServerInput::Timeout | ServerInput::Ack | ServerInput::Respond(_) | ServerInput::Disconnected => {
                ServerStep::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retransmitted_request_gets_the_same_answer_until_timer_j() {
        let start = Timestamp::from_millis(1_000);
        let mut transaction = Server::start(false);
        assert_eq!(transaction.handle(start, ServerInput::Retransmission), ServerStep::Nothing);
        assert_eq!(transaction.handle(start, ServerInput::Respond(Class::Success)), ServerStep::Send);
        assert_eq!(transaction.handle(start, ServerInput::Retransmission), ServerStep::Send);
        transaction.handle(start + LINGER, ServerInput::Timeout);
        assert!(transaction.is_terminated());
    }
}
