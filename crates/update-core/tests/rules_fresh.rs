//! [fresh]: an order that was held back in transit is not acted upon, and an agent that cannot tell gets it
//! by unicast, with an Echo value.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use coap_wire::{Code, Message, Type, Writer, option};
use common::agent::{Agent, Did, agent_address, ready};
use common::fleet::{self, Fleet};
use common::group::{self, Image, Speaker, agent_id, order};
use common::wire;
use group_oscore::{
    MessageMode, Mode, Received, ReplayWindow, ResponseMode, ResponsePiv, SentRequest, SequenceNumbers,
};
use update_core::census::{Report, State};
use update_core::command::{Command, Dated};
use update_core::distribution::Ending;
use update_core::limits::{ECHO_WITHIN, ORDER_HOLDS};
use update_core::reception::{Event, Via};
use update_core::resource::Resource;
use update_core::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The Partial IV of a question that the agent has just heard.
fn hears_a_question(agent: &mut Agent, speaker: &mut Speaker) -> u64 {
    let question = speaker.dates();
    agent.hear(Via::Group, &question);
    common::agent::request_piv(&question)
}

fn dated(question: u64, since: Duration) -> Option<Dated> {
    Some(Dated { question, since_ms: since.as_millis() as u32, holds_ms: ORDER_HOLDS.as_millis() as u32 })
}

fn activations(agent: &Agent) -> usize {
    agent.did.iter().filter(|did| matches!(did, Did::Activate(_))).count()
}

#[test]
fn fresh_an_order_counts_from_when_it_was_sent_and_not_from_when_it_comes() {
    // The delay from question to order, the delay in transit, and whether the agent acts.
    let second = Duration::from_secs(1);
    for (since, held_back, acts) in [
        (MS(0), MS(0), true),
        (second * 100, MS(500), true),
        (second, ORDER_HOLDS, true),
        (second, ORDER_HOLDS + MS(1), false),
        (second, second * 3_600, false),
    ] {
        for cancels in [false, true] {
            let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
            let mut agent = ready(&mut speaker, &image);
            let question = hears_a_question(&mut agent, &mut speaker);
            agent.pass(since);
            let command = Command { dated: dated(question, since), ..order(&image, 1) };
            let resource = if cancels { Resource::Cancel } else { Resource::Activate };
            let (held, _) = speaker.as_it_is(Mode::Group, resource, &command, &[]);
            agent.pass(held_back);
            agent.hear(Via::Group, &held);
            let state = match (acts, cancels) {
                (false, _) => State::Ready,
                (true, false) => State::Trial,
                (true, true) => State::Failed,
            };
            assert_eq!(agent.machine.state(), state, "{since:?} {held_back:?} {cancels}");
            assert_eq!(agent.events.contains(&Event::OrderNotFresh), !acts);
        }
    }
}

#[test]
fn fresh_the_delay_of_an_activation_counts_from_when_it_was_sent() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let question = hears_a_question(&mut agent, &mut speaker);
    let command = Command { dated: dated(question, MS(0)), delay_ms: 10_000, ..order(&image, 1) };
    let (held, _) = speaker.as_it_is(Mode::Group, Resource::Activate, &command, &[]);
    agent.pass(MS(4_000));
    agent.hear(Via::Group, &held);
    agent.pass(MS(5_990));
    assert_eq!(agent.machine.state(), State::Scheduled);
    agent.pass(MS(20));
    assert_eq!(agent.machine.state(), State::Trial);
}

#[test]
fn fresh_an_order_by_the_group_that_nothing_dates_changes_nothing_and_gets_no_answer() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let question = hears_a_question(&mut agent, &mut speaker);
    // No question at all, a question that was never heard, and one heard before a restart.
    for (dated, restart) in
        [(None, false), (dated(question + 1_000, MS(0)), false), (dated(question, MS(0)), true)]
    {
        if restart {
            agent.restart(false);
            speaker.context.skip(300);
            agent.pass(Duration::from_secs(60));
        }
        let sent = agent.sent.len();
        let command = Command { dated, ..order(&image, 1) };
        let (datagram, _) = speaker.as_it_is(Mode::Group, Resource::Activate, &command, &[]);
        agent.hear(Via::Group, &datagram);
        assert_eq!((agent.machine.state(), agent.sent.len()), (State::Ready, sent), "{dated:?}");
    }
    // Old questions are forgotten, recent ones are not.
    for _ in 0..20 {
        hears_a_question(&mut agent, &mut speaker);
    }
    let newest = hears_a_question(&mut agent, &mut speaker);
    let command = Command { dated: dated(newest, MS(0)), ..order(&image, 1) };
    agent.hear(Via::Group, &speaker.as_it_is(Mode::Group, Resource::Activate, &command, &[]).0);
    assert_eq!(agent.machine.state(), State::Trial);
}

/// The code of the agent's answer, and its Echo value.
fn answer(agent: &mut Agent, speaker: &mut Speaker, binding: &SentRequest) -> (Code, Vec<u8>) {
    let (_, mut bytes) = agent.sent.pop().expect("an answer");
    assert!(Message::parse(&bytes).unwrap().code().is_response());
    let answer = speaker.context.unprotect_response(&mut bytes, binding).unwrap();
    let body = answer.body();
    (body.code(), body.option(option::ECHO).unwrap_or_default().to_vec())
}

#[test]
fn fresh_an_order_by_unicast_is_acted_upon_with_the_echo_value() {
    let (mut speaker, image) = (Speaker::distributor(1), Image::new(5, 3, 64));
    let mut agent = ready(&mut speaker, &image);
    let command = order(&image, 1);
    let mut give = |agent: &mut Agent, echo: &[u8]| {
        let mode = Mode::Pairwise(agent_id(0));
        let (datagram, binding) = speaker.as_it_is(mode, Resource::Activate, &command, echo);
        agent.hear(Via::Own, &datagram);
        answer(agent, &mut speaker, &binding)
    };
    let (code, echo) = give(&mut agent, &[]);
    assert_eq!((code, echo.len(), activations(&agent)), (Code::UNAUTHORIZED, 8, 0));
    // A value other than the one that was sent, and one that is too old.
    assert_eq!(give(&mut agent, &[1; 8]), (Code::UNAUTHORIZED, echo.clone()));
    agent.pass(ECHO_WITHIN);
    let (code, newer) = give(&mut agent, &echo);
    assert_eq!((code, activations(&agent)), (Code::UNAUTHORIZED, 0));
    assert_ne!(newer, echo);
    assert_eq!(give(&mut agent, &newer), (Code::CHANGED, Vec::new()));
    assert_eq!(agent.machine.state(), State::Trial);
    // An order already acted upon needs no proof, and has no effect.
    assert_eq!(give(&mut agent, &[]), (Code::CHANGED, Vec::new()));
    assert_eq!(activations(&agent), 1);
}

#[test]
fn fresh_an_agent_that_hears_no_multicast_any_more_is_ordered_and_asked_alone() {
    let image = Image::new(5, 9, 64);
    for deaf_from in [State::Blocks, State::Ready] {
        let mut fleet = Fleet::new(&image, 3);
        let mut deaf = false;
        for _ in 0..1_000_000 {
            deaf |= fleet.agents[1].machine.state() == deaf_from;
            fleet
                .step(&mut |passing| usize::from(!(deaf && passing.by_group && passing.to_agent == Some(1))));
            if fleet.ending.is_some() {
                break;
            }
        }
        assert_eq!(fleet.ending, Some(Ending::Done));
        let states: Vec<_> = fleet.distribution.agents().iter().map(|agent| agent.state().unwrap()).collect();
        assert_eq!(states, [State::Confirmed; 3], "deaf from {deaf_from:?}");
    }
}

#[test]
fn fresh_an_update_is_cancelled_at_an_agent_that_hears_no_multicast_any_more() {
    let image = Image::new(5, 9, 64);
    let config = update_core::distribution::DistributionConfig {
        activate: update_core::distribution::Activate::Nobody,
        ..fleet::config()
    };
    let mut fleet = Fleet::with(&image, 2, config, None);
    let (mut deaf, mut cancelled) = (false, false);
    for _ in 0..1_000_000 {
        if !cancelled && fleet.agents.iter().all(|agent| agent.machine.state() == State::Ready) {
            (deaf, cancelled) = (true, true);
            fleet.distribution.handle(fleet.now, update_core::distribution::Input::Cancel);
            fleet.wake = Some(fleet.now);
        }
        fleet.step(&mut |passing| usize::from(!(deaf && passing.by_group && passing.to_agent == Some(1))));
        if fleet.ending.is_some() {
            break;
        }
    }
    assert_eq!(fleet.ending, Some(Ending::Cancelled));
    for agent in &fleet.agents {
        assert_eq!(agent.machine.state(), State::Failed);
    }
    let fates: Vec<_> =
        fleet.distribution.agents().iter().map(update_core::distribution::Agent::fate).collect();
    assert_eq!(fates, [update_core::distribution::Fate::Dropped; 2]);
}

/// Agent 1's answer to an order to it alone: 4.01 with an Echo value of this length.
fn challenged(
    context: &mut update_core::reception::AgentContext,
    order: &[u8],
    echo: usize,
) -> Option<Vec<u8>> {
    let mut bytes = order.to_vec();
    let Ok(Received::Fresh(mut request)) = context.unprotect_request(&mut bytes) else { return None };
    if request.body().code() != Code::POST || request.mode() != MessageMode::Pairwise {
        return None;
    }
    let (token, mut binding) = (request.token(), request.take_binding());
    let mut plain = [0; 1200];
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, Code::UNAUTHORIZED, 7, token).unwrap();
    writer.option(option::ECHO, &vec![7; echo]).unwrap();
    let len = writer.finish();
    let message = Message::parse(&plain[..len]).unwrap();
    let mut out = vec![0; 1300];
    let (mode, piv) = (ResponseMode::Pairwise, ResponsePiv::Own);
    let len = context.protect_response(&message, &mut binding, mode, piv, &mut out).unwrap();
    out.truncate(len);
    Some(out)
}

#[test]
fn fresh_an_agent_that_wants_an_echo_value_of_any_length_stops_nobody() {
    let image = Image::new(5, 9, 64);
    for echo in [0, 1, 40, 41, 1_150] {
        let mut fleet = Fleet::new(&image, 2);
        fleet.off[1] = true;
        let numbers = SequenceNumbers::new(0, 1 << 20);
        let mut context = group::agent_context(1, numbers, ReplayWindow::fresh());
        let ready = Report { digest: Some(image.offer.digest), ..Report::new(State::Ready) };
        let payload = wire::report(&ready);
        let (mut heard, mut orders) = (0, 0);
        while fleet.ending.is_none() {
            fleet.step(&mut |_| 1);
            let sent: Vec<_> = fleet.sent[heard..].to_vec();
            heard = fleet.sent.len();
            for (to, datagram) in sent {
                let mine = if to == agent_address(1) {
                    challenged(&mut context, &datagram, echo).inspect(|_| orders += 1)
                } else {
                    None
                };
                let said =
                    mine.or_else(|| wire::answer(&mut context, &datagram, &wire::ByHand::new(&payload)));
                if let Some(said) = said {
                    wire::hand_in(&mut fleet, 1, &said);
                    fleet.wake = Some(fleet.now);
                }
            }
        }
        assert_eq!(fleet.ending, Some(Ending::Done), "{echo} bytes");
        assert_eq!(fleet.agents[0].machine.state(), State::Confirmed, "{echo} bytes");
        // In the minute that a trial may take: each round once, and once more with its value.
        assert!((1..=130).contains(&orders), "{echo} bytes: {orders} orders");
    }
}
