//! The browsers of one media thread: their offers, and their packets to and from the bridge.
//!
//! ```text
//!   the port of all browsers ─▶ demux ─▶ peer ─▶ RTP ─▶ bridge: verdict ─▶ the phone's port
//!                                         ▲ └─▶ datagrams ─▶ the browser
//!   the phone's port ─▶ bridge: verdict ──┘
//! ```

use tracing::warn;

use super::{BUFFER, Relay};
use crate::media::{BrowserOffer, MediaEvent, OfferError, Remote};
use crate::model::{LegId, Secret, Side, Timestamp};
use crate::server::poll::Ready;
use crate::webrtc::{Output, Peer, Source, Via};

impl<F: Fn(LegId, MediaEvent)> Relay<F> {
    /// A browser in place of a phone, or another offer of one.
    pub(super) fn connect(&mut self, now: Timestamp, leg: LegId, offer: &BrowserOffer, secret: Secret) {
        let slot = self.slot(leg.call);
        match self.answer(now, slot, leg.side, offer, secret) {
            Ok(answer) => {
                self.drive(now, slot, leg.side);
                (self.report)(leg, MediaEvent::BrowserAnswer(answer.into()));
            }
            Err(error) => {
                self.vacate_if_over(slot);
                (self.report)(leg, MediaEvent::BrowserRefused(error));
            }
        }
    }

    fn answer(
        &mut self,
        now: Timestamp,
        slot: usize,
        side: Side,
        offer: &BrowserOffer,
        secret: Secret,
    ) -> Result<String, OfferError> {
        let (Some(browsers), Some(call)) = (&mut self.browsers, self.calls[slot].as_deref_mut()) else {
            return Err(OfferError::Unavailable);
        };
        // A leg has a phone or a browser for as long as it lives.
        if call.ports(side).is_some() {
            return Err(OfferError::Unavailable);
        }
        if let Some(peer) = call.peer_mut(side).as_mut().filter(|peer| peer.is_of(offer)) {
            let answer = peer.restart(now, offer);
            browsers.demux.rename((slot, side), peer.ufrag());
            call.bridge.connect(now, side, secret, offer);
            return Ok(answer);
        }
        let (peer, answer) = Peer::connect(now, &browsers.site, offer, secret)?;
        let ufrag = peer.ufrag().to_owned();
        // The page before a reload hears that it is over, if there is anybody left to hear it.
        self.dismiss(now, slot, side);
        if let (Some(browsers), Some(call)) = (&mut self.browsers, self.calls[slot].as_deref_mut()) {
            self.legs += u64::from(call.peer_mut(side).replace(Box::new(peer)).is_none());
            call.bridge.connect(now, side, secret, offer);
            browsers.demux.insert((slot, side), &ufrag);
        }
        Ok(answer)
    }

    /// Takes leave of a leg's browser, if it has one.
    pub(super) fn dismiss(&mut self, now: Timestamp, slot: usize, side: Side) {
        let Some(call) = self.calls[slot].as_deref_mut() else { return };
        let Some(peer) = call.peer_mut(side).as_mut() else { return };
        peer.close(now);
        self.drive(now, slot, side);
        if let Some(call) = self.calls[slot].as_deref_mut() {
            self.legs -= u64::from(call.peer_mut(side).take().is_some());
            call.bridge.reported(side, None);
        }
        if let Some(browsers) = &mut self.browsers {
            browsers.forget((slot, side));
        }
    }

    /// What waits at the port of all browsers, but not more than its share; how many that were.
    pub(super) fn receive_datagrams(&mut self, now: Timestamp, buffer: &mut [u8]) -> usize {
        let share = self.browsers.as_ref().map_or(0, |browsers| browsers.share.size());
        let mut count = 0;
        while count < share
            && let Some((length, address)) = self.browsers.as_ref().and_then(|browsers| browsers.receive(buffer))
        {
            self.deliver(now, Source { via: Via::Udp, address }, &buffer[..length]);
            count += 1;
        }
        if let Some(browsers) = &mut self.browsers {
            browsers.share.took(count);
        }
        count
    }

    /// A browser comes by TCP.
    pub(super) fn accept(&mut self, now: Timestamp) {
        if let Some(browsers) = &mut self.browsers
            && let Err(error) = browsers.streams.accept(now, &self.poller)
        {
            warn!(%error, "a browser's TCP connection cannot be taken");
        }
    }

    /// What has come by a TCP connection, or what can go on by it.
    pub(super) fn receive_stream(&mut self, now: Timestamp, place: usize, ready: &Ready, buffer: &mut [u8]) {
        let Some(browsers) = &mut self.browsers else { return };
        if ready.writable {
            browsers.streams.flush(place, &self.poller);
        }
        let read = if ready.readable { browsers.streams.read(place, buffer) } else { None };
        let Some((mut framer, address)) = read else { return };
        let source = Source { via: Via::Tcp, address };
        let whole = loop {
            match framer.next_frame() {
                Ok(Some(frame)) => self.deliver(now, source, frame),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if let Some(browsers) = &mut self.browsers {
            browsers.streams.put_back(place, address, whole.then_some(framer));
        }
    }

    /// A datagram to whom it belongs.
    fn deliver(&mut self, now: Timestamp, source: Source, datagram: &[u8]) {
        let Some(browsers) = &mut self.browsers else { return };
        let calls = &mut self.calls;
        let routed = browsers.demux.route(now, source, datagram, |(slot, side), message| {
            let peer = calls[slot].as_deref_mut().and_then(|call| call.peer_mut(side).as_mut());
            peer.is_some_and(|peer| peer.verify(source, message))
        });
        let Some((slot, side)) = routed else {
            self.counts.dropped.stranger += 1;
            return;
        };
        if source.via == Via::Tcp {
            browsers.streams.belongs(source.address, (slot, side));
        }
        if let Some(peer) = self.calls[slot].as_deref_mut().and_then(|call| call.peer_mut(side).as_mut()) {
            peer.receive(now, source, datagram);
            self.drive(now, slot, side);
        }
    }

    /// Carries out all that a browser's peer has to say.
    pub(super) fn drive(&mut self, now: Timestamp, slot: usize, side: Side) {
        let mut turned = false;
        loop {
            let Some(call) = self.calls[slot].as_deref_mut() else { return };
            match call.peer_mut(side).as_mut().and_then(|peer| peer.poll(now)) {
                Some(Output::Transmit(transmit)) => {
                    let sent = self.browsers.as_mut().map(|browsers| browsers.send(&transmit, &self.poller));
                    self.counts.dropped.send += u64::from(!matches!(sent, Some(Ok(()))));
                }
                Some(Output::Rtp(plain)) => {
                    let mut packet = [0; BUFFER];
                    if let Some(length) = plain.write(&mut packet) {
                        self.relay(now, slot, side, Remote::Browser, &mut packet[..length]);
                    }
                }
                Some(Output::Report(report)) => call.bridge.reported(side, Some(report)),
                Some(Output::Up) => {
                    call.bridge.link(now, side, true, &mut self.events);
                    turned = true;
                }
                Some(Output::Down) => {
                    call.bridge.link(now, side, false, &mut self.events);
                    turned = true;
                }
                None => break,
            }
        }
        if turned {
            self.poll(now, slot);
        } else {
            self.schedule(slot);
            self.report_events(slot);
        }
    }

    /// A packet of the bridge's for the browser of a leg.
    pub(super) fn send_to_browser(&mut self, now: Timestamp, slot: usize, side: Side, packet: &[u8]) {
        let call = self.calls[slot].as_deref_mut();
        if let Some(peer) = call.and_then(|call| call.peer_mut(side).as_mut()) {
            peer.send(now, packet);
            self.drive(now, slot, side);
        }
    }

    /// Browsers whose time has come.
    pub(super) fn elapse(&mut self, now: Timestamp, slot: usize) {
        for side in Side::BOTH {
            let peer = self.calls[slot].as_deref_mut().and_then(|call| call.peer_mut(side).as_mut());
            if let Some(peer) = peer.filter(|peer| peer.next_timeout().is_some_and(|at| at <= now)) {
                peer.elapse(now);
                self.drive(now, slot, side);
            }
        }
    }
}
