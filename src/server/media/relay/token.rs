//! What a ready socket's token names.

use crate::model::Side;

/// Which of a thread's descriptors is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Commands wait.
    Commands,
    /// The port of all browsers.
    Browsers,
    /// A browser wants to come by TCP.
    Listener,
    /// A browser's connection, by its place.
    Stream(usize),
    /// A leg's own socket; the call is named by its slot.
    Leg(usize, Side, Door),
}

/// Which socket of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Rtp,
    /// The party's own.
    Party,
    Rtcp,
}

/// The two lowest bits name a leg's door, or say that it is none.
const NO_DOOR: u64 = 3;

impl Token {
    pub fn bits(self) -> u64 {
        let other = |number: u64| number << 2 | NO_DOOR;
        match self {
            Token::Commands => other(0),
            Token::Browsers => other(1),
            Token::Listener => other(2),
            Token::Stream(place) => other(3 + place as u64),
            Token::Leg(slot, side, door) => {
                let side = match side {
                    Side::User => 0,
                    Side::Destination => 1,
                };
                let door = match door {
                    Door::Rtp => 0,
                    Door::Party => 1,
                    Door::Rtcp => 2,
                };
                (slot as u64) << 3 | side << 2 | door
            }
        }
    }

    pub fn of(bits: u64) -> Self {
        let door = match bits & 3 {
            0 => Door::Rtp,
            1 => Door::Party,
            2 => Door::Rtcp,
            _ => {
                return match bits >> 2 {
                    0 => Token::Commands,
                    1 => Token::Browsers,
                    2 => Token::Listener,
                    place => Token::Stream(place as usize - 3),
                };
            }
        };
        let side = if bits & 4 == 0 { Side::User } else { Side::Destination };
        Token::Leg((bits >> 3) as usize, side, door)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_named_and_found_again() {
        let legs = Side::BOTH
            .into_iter()
            .flat_map(|side| [Door::Rtp, Door::Party, Door::Rtcp].map(|door| Token::Leg(70_000, side, door)));
        let others = [Token::Commands, Token::Browsers, Token::Listener, Token::Stream(0), Token::Stream(900)];
        for token in legs.chain(others).chain([Token::Leg(0, Side::User, Door::Rtp)]) {
            assert_eq!(Token::of(token.bits()), token);
        }
    }
}
