//! Logs one line for each fact. Never the content of a key, a datagram or an image.

use update_core::census::State;
use update_core::reception::{Event, reason_text};

use crate::sockets::Traffic;

/// Logs one fact.
pub fn write(event: &Event) {
    match event {
        Event::Accepted { id, sequence_number, image_bytes } => {
            tracing::info!(%id, sequence_number, image_bytes, "update accepted");
        }
        Event::Refused { id, reason } => {
            let code = reason.code();
            tracing::warn!(%id, code, reason = reason_text(State::Failed, code), "offer refused");
        }
        Event::Recovered { id, blocks, of } => tracing::info!(%id, blocks, of, "blocks found in storage"),
        Event::Verified(id) => tracing::info!(%id, "image complete and verified"),
        Event::Activating { id, attempt } => tracing::info!(%id, attempt, "activating"),
        Event::Confirmed(id) => tracing::info!(%id, "update confirmed"),
        Event::RolledBack { id, cause } => {
            let reason = reason_text(State::RolledBack, *cause as u8);
            tracing::warn!(%id, reason, "update rolled back");
        }
        Event::Failed { id, failure } => {
            let reason = reason_text(State::Failed, *failure as u8);
            tracing::error!(%id, reason, "update failed");
        }
        Event::OrderNotFresh => tracing::warn!("order not acted upon: nothing shows that it is recent"),
        Event::Cancelled(id) => tracing::warn!(%id, "update cancelled"),
        Event::Rewound => tracing::error!(
            "the numbers of this agent were used before: its state folder was wiped or put back, or another \
             device has the same file. It needs another Sender ID: from its Group Manager, or else with a \
             new file (`fwcast agent enroll NAME --again`) and an empty state folder"
        ),
        Event::CountersLost => tracing::warn!(
            "the numbers that this agent has used are not known any more, so it neither sends to its group \
             nor accepts anything: asking the Group Manager for another Sender ID"
        ),
        Event::Rekeyed { num } => tracing::info!(num, "new keys are in force"),
        Event::Expelled => tracing::error!(
            "the Group Manager says that this agent is not a member of its group: it was evicted, or has \
             left. It asks again now and then; `fwcast agent rejoin NAME` takes it back"
        ),
        Event::NotSent(reason) => tracing::warn!(?reason, "datagram not protected, and not sent"),
        // Anyone on the network can cause these, so they must not fill the log.
        Event::Discarded(reason) => tracing::debug!(?reason, "datagram discarded"),
    }
}

/// Logs the socket statistics at the end.
pub fn write_traffic(traffic: &Traffic) {
    tracing::info!(
        group_received = traffic.group_received,
        own_received = traffic.own_received,
        sent = traffic.sent,
        received_dropped = traffic.received_dropped,
        sent_dropped = traffic.sent_dropped,
        "stopped"
    );
}
