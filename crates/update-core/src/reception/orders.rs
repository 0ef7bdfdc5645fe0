//! Orders: activate an update, drop it, or take it back (protocol.md \[attempt\], [moment], [cancel],
//! [fresh], [wear]). An agent acts only on an attempt higher than the last one that it acted upon.

use super::allowances::Costly;
use super::answers::Content;
use super::{Event, Failure, Phase, Reception};
use crate::command::Command;
use crate::record::Outcome;
use crate::time::{Duration, Instant};
use coap_wire::option;
use core::net::SocketAddr;
use group_oscore::Verified;

impl Reception<'_> {
    /// A POST to `/fw/activate` or `/fw/cancel`.
    pub(super) fn on_command(
        &mut self,
        now: Instant,
        from: SocketAddr,
        request: &mut Verified<'_>,
        multicast: bool,
        cancel: bool,
    ) {
        let Ok(command) = Command::decode(request.body().payload()) else {
            return self.counted.unknown_content();
        };
        let meant = command.target.matches(self.channel.own_id(), &self.config.name)
            && self.digest() == Some(command.digest);
        let is_new = self.received.update().is_some_and(|update| command.attempt > update.attempt());
        let mut content = Content::Changed;
        if meant && is_new {
            match self.sent_at(now, request, &command) {
                Some(_) if cancel => self.cancel(now, &command),
                Some(sent_at) => self.schedule(now, sent_at, &command),
                None => {
                    self.event(Event::OrderNotFresh);
                    content = Content::Challenge(self.freshness.challenge(now, &mut self.random));
                }
            }
        }
        if !multicast {
            self.answer(from, request, now, content, false);
        }
    }

    /// When an order was sent, if it is known to be recent: either by the question that it names, or because
    /// it returns the requested Echo value.
    fn sent_at(&mut self, now: Instant, request: &Verified<'_>, command: &Command<'_>) -> Option<Instant> {
        let dated = command.dated.and_then(|dated| self.freshness.sent_at(now, &dated));
        let body = request.body();
        let echo = body.option(option::ECHO).filter(|_| dated.is_none());
        dated.or_else(|| echo.filter(|echo| self.freshness.is_proved_by(now, echo)).map(|_| now))
    }

    /// Acts only with the whole image stored.
    fn schedule(&mut self, now: Instant, sent_at: Instant, command: &Command<'_>) {
        let Some(update) = self.received.update() else { return };
        let whole = match self.received.phase() {
            Phase::Ready => true,
            Phase::Ended => matches!(update.outcome(), Outcome::RolledBack(_)),
            _ => false,
        };
        if whole {
            // The delay counts from the sending of the order, so that all agents restart at the same moment.
            let due = now.max(sent_at + Duration::from_millis(u64::from(command.delay_ms)));
            if matches!(self.received.phase(), Phase::Ended) {
                // After a roll back, the slot is read back before it is trusted again.
                self.start_walk();
            } else if self.allowances.take_for_order(now, Costly::Activate) {
                self.received.schedule(due, command.attempt);
            }
        }
    }

    /// Drops an update that is not yet on trial or, if so ordered, takes back one that is. An update that has
    /// ended stays as it is.
    fn cancel(&mut self, now: Instant, command: &Command<'_>) {
        let Some(update) = self.received.update() else { return };
        let id = update.id();
        match self.received.phase() {
            // A deferred image has not run yet.
            Phase::Trial if self.received.is_deferred() => self.order_back(command.attempt),
            Phase::Trial if command.from_trial && !self.received.is_recovered() => {
                if self.allowances.take_for_order(now, Costly::Undo) {
                    self.order_back(command.attempt);
                }
            }
            Phase::Trial | Phase::Activating | Phase::Ended | Phase::Idle => {}
            _ => {
                self.received.act_upon(command.attempt);
                self.give_up(Failure::Cancelled);
                self.event(Event::Cancelled(id));
            }
        }
    }
}
