//! The worked examples of docs/examples.md: every message of the protocol, byte by byte, from a real
//! distribution with fixed keys. `UPDATE_EXAMPLES=1 cargo test -p update-core --test worked_examples`
//! rewrites the page.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use coap_wire::{Body, Code, Message, Token, Type, Writer, option};
use common::fleet::{self, Fleet, Passing};
use common::group::{self, Image};
use group_oscore::{GroupContext, Mode, Received, Recipients, ReplayWindow, SentRequest, SequenceNumbers};
use update_core::census::State;
use update_core::distribution::{Activate, DistributionConfig, Ending, Input, Members};
use update_core::reception::AgentContext;
use update_core::resource::Resource;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../", "docs/examples.md");

const INTRODUCTION: &str = "\
# Worked examples

Every message of [the update protocol](protocol.md), byte by byte. The test
`crates/update-core/tests/worked_examples.rs` makes this page from a real distribution, and fails when it is
no longer true. The keys are test keys; never use them.

";

/// Bytes in hexadecimal, 48 to a line.
fn hexadecimal(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes.chunks(48).map(hex::encode).collect();
    lines.join("\n")
}

fn name_of(number: u16) -> &'static str {
    match number {
        option::ETAG => "ETag",
        9 => "OSCORE",
        option::URI_PATH => "Uri-Path",
        option::URI_QUERY => "Uri-Query",
        option::BLOCK2 => "Block2",
        option::BLOCK1 => "Block1",
        option::ECHO => "Echo",
        option::NO_RESPONSE => "No-Response",
        _ => "another option",
    }
}

fn code(code: Code) -> String {
    format!("{}.{:02}", code.class(), code.detail())
}

/// One message: its bytes, its header, and its content.
fn section(page: &mut String, title: &str, datagram: &[u8], body: &Body<'_>) {
    let outer = Message::parse(datagram).unwrap();
    writeln!(page, "## {title}\n\n{} bytes:\n\n```text\n{}\n```\n", datagram.len(), hexadecimal(datagram))
        .unwrap();
    writeln!(page, "| Outer | |\n|---|---|").unwrap();
    writeln!(page, "| type, code | {:?}, {} |", outer.ty(), code(outer.code())).unwrap();
    writeln!(
        page,
        "| Message ID, Token | {:04x}, {} |",
        outer.message_id(),
        hex::encode(outer.token().as_bytes())
    )
    .unwrap();
    for option in outer.options() {
        writeln!(page, "| {} | `{}` |", name_of(option.number), hex::encode(option.value)).unwrap();
    }
    writeln!(page, "\n| Inner | |\n|---|---|\n| code | {} |", code(body.code())).unwrap();
    for option in body.options() {
        let text = core::str::from_utf8(option.value).ok().filter(|_| option.number == option::URI_PATH);
        let value = text.map_or_else(|| hex::encode(option.value), str::to_owned);
        writeln!(page, "| {} | `{value}` |", name_of(option.number)).unwrap();
    }
    let payload = body.payload();
    if payload.is_empty() {
        return page.push('\n');
    }
    writeln!(page, "| payload | {} bytes |\n", payload.len()).unwrap();
    let is_map = payload[0] >> 5 == 5
        && body.option(option::BLOCK1).is_none()
        && body.option(option::BLOCK2).is_none();
    if is_map {
        writeln!(page, "```text\n{}\n\n{}\n```\n", hexadecimal(payload), minicbor::display(payload)).unwrap();
    } else {
        writeln!(page, "```text\n{}\n```\n", hexadecimal(payload)).unwrap();
    }
}

/// What kind of message this is, so that each kind is shown once.
fn kind(body: &Body<'_>, to_group: bool) -> String {
    let resource = match Resource::of(body) {
        Some(Resource::Manifest(_)) => "the offer, /fw/<id>/manifest",
        Some(Resource::Hashes(_)) => "a page, /fw/<id>/hashes",
        Some(Resource::Image(_)) => "a block, /fw/<id>/image",
        Some(Resource::Status) => "a census, /fw/status",
        Some(Resource::Activate) => "an order, /fw/activate",
        Some(Resource::Cancel) => "an order, /fw/cancel",
        Some(Resource::Boot) => "a boot, /fw/boot",
        _ => "another",
    };
    let method = match body.code() {
        Code::GET => "GET",
        Code::POST => "POST",
        Code::PUT => "PUT",
        Code::FETCH => "FETCH",
        _ => "another method",
    };
    format!("{method}: {resource}{}", if to_group { ", to the group" } else { ", by unicast" })
}

/// Listens to both sides with its own contexts, and records each kind of message once.
struct Listener {
    page: String,
    shown: BTreeSet<String>,
    agent: AgentContext,
    distributor: GroupContext<Members>,
    /// Requests so far: Token, kind, and the binding that opens their answers.
    asked: Vec<(Vec<u8>, String, SentRequest)>,
}

/// An already used number, for protecting one message with it.
fn only(partial_iv: u64) -> SequenceNumbers {
    SequenceNumbers::new(partial_iv, partial_iv + 1)
}

impl Listener {
    fn new() -> Self {
        Self {
            page: format!("{INTRODUCTION}{}", group::parameters()),
            shown: BTreeSet::new(),
            agent: group::agent_context(0, SequenceNumbers::new(0, 0), ReplayWindow::fresh()),
            distributor: group::distributor_context(SequenceNumbers::new(0, 0), [ReplayWindow::fresh()]),
            asked: Vec::new(),
        }
    }

    /// Takes a datagram in, and returns what kind of message it is.
    fn hear(&mut self, passing: &Passing<'_>) -> String {
        let mut bytes = passing.bytes.to_vec();
        let outer = Message::parse(passing.bytes).unwrap();
        let token = outer.token().as_bytes().to_vec();
        if outer.code().is_response() {
            return self.hear_answer(passing, &token);
        }
        let received = match passing.to_agent {
            Some(_) => self.agent.unprotect_request(&mut bytes),
            None => self.distributor.unprotect_request(&mut bytes),
        };
        let Ok(Received::Fresh(request)) = received else { return "seen before".into() };
        let (body, piv) = (request.body(), request.partial_iv().unwrap().value());
        let kind = kind(&body, passing.by_group);
        // The same request once more, from a context with this one number, for the binding that opens its
        // answers.
        let binding = match (passing.to_agent, passing.by_group) {
            (Some(_), true) => {
                bind(&mut group::distributor_context(only(piv), [ReplayWindow::fresh()]), Mode::Group)
            }
            (Some(_), false) => {
                let mode = Mode::Pairwise(group::agent_id(0));
                bind(&mut group::distributor_context(only(piv), [ReplayWindow::fresh()]), mode)
            }
            (None, _) => {
                let mode = Mode::Pairwise(group::distributor_id());
                bind(&mut group::agent_context(0, only(piv), ReplayWindow::fresh()), mode)
            }
        };
        if self.shown.insert(kind.clone()) {
            section(&mut self.page, &kind, passing.bytes, &body);
        }
        self.asked.push((token, kind.clone(), binding));
        kind
    }

    fn hear_answer(&mut self, passing: &Passing<'_>, token: &[u8]) -> String {
        let mut bytes = passing.bytes.to_vec();
        let (_, asked, binding) =
            self.asked.iter().rfind(|(of, ..)| of == token).expect("it answers a request");
        let opened = match passing.to_agent {
            Some(_) => self.agent.unprotect_response(&mut bytes, binding),
            None => self.distributor.unprotect_response(&mut bytes, binding),
        };
        let answer = opened.expect("the answer opens");
        let kind = format!("Answer {} to {asked}", code(answer.body().code()));
        if self.shown.insert(kind.clone()) {
            section(&mut self.page, &kind, passing.bytes, &answer.body());
        }
        kind
    }
}

fn bind<R: Recipients>(context: &mut GroupContext<R>, mode: Mode) -> SentRequest {
    let mut plain = [0; 16];
    let token = Token::default();
    let writer = Writer::message(&mut plain, Type::NonConfirmable, Code::GET, 0, token).unwrap();
    let len = writer.finish();
    let message = Message::parse(&plain[..len]).unwrap();
    context.protect_request(&message, mode, &mut [0; 256]).unwrap().1
}

/// An update in which a block is lost, and the orders to the group do not arrive.
fn an_update<'i>(listener: &mut Listener, image: &'i Image) -> Fleet<'i> {
    let mut fleet = Fleet::new(image, 1);
    let mut lost = false;
    let ending = fleet.run_with(|passing| {
        let kind = listener.hear(passing);
        let is_block = kind.starts_with("PUT: a block");
        let is_lost = is_block && !std::mem::replace(&mut lost, true);
        usize::from(!is_lost && !kind.contains("/fw/activate, to the group"))
    });
    assert_eq!((ending, fleet.agents[0].machine.state()), (Ending::Done, State::Confirmed));
    fleet
}

/// The agent boots, and the distributor cannot tell whether its announcement is fresh.
fn a_boot(listener: &mut Listener, mut fleet: Fleet<'_>) {
    fleet.agents[0].restart(true);
    fleet.floors.insert(group::agent_id(0), None);
    fleet.restart_distribution(fleet::config());
    let mut announced = false;
    fleet.run_with(|passing| {
        let hears = announced || !passing.by_group;
        if hears {
            announced |= listener.hear(passing).starts_with("Answer 2.04 to POST: a boot");
        }
        usize::from(hears)
    });
    assert!(announced);
}

/// An update that is cancelled.
fn a_cancellation(listener: &mut Listener, image: &Image) {
    let config = DistributionConfig { activate: Activate::Nobody, ..fleet::config() };
    let mut fleet = Fleet::with(image, 1, config, None);
    listener.agent = group::agent_context(0, SequenceNumbers::new(0, 0), ReplayWindow::fresh());
    listener.distributor = group::distributor_context(SequenceNumbers::new(0, 0), [ReplayWindow::fresh()]);
    let mut cancelled = false;
    while fleet.ending.is_none() {
        if !cancelled && fleet.agents[0].machine.state() == State::Ready {
            cancelled = true;
            fleet.distribution.handle(fleet.now, Input::Cancel);
            fleet.wake = Some(fleet.now);
        }
        fleet.step(&mut |passing| {
            listener.hear(passing);
            1
        });
    }
    assert_eq!(fleet.ending, Some(Ending::Cancelled));
}

#[test]
fn the_page_shows_every_message_as_it_is() {
    let image = Image::new(5, 5, 64);
    let mut listener = Listener::new();
    let fleet = an_update(&mut listener, &image);
    a_boot(&mut listener, fleet);
    a_cancellation(&mut listener, &image);
    for kind in [
        "PUT: the offer, /fw/<id>/manifest, to the group",
        "PUT: a page, /fw/<id>/hashes, to the group",
        "PUT: a block, /fw/<id>/image, to the group",
        "FETCH: a census, /fw/status, to the group",
        "Answer 2.05 to FETCH: a census, /fw/status, to the group",
        "GET: a block, /fw/<id>/image, by unicast",
        "Answer 2.05 to GET: a block, /fw/<id>/image, by unicast",
        "POST: a boot, /fw/boot, by unicast",
        "Answer 4.01 to POST: a boot, /fw/boot, by unicast",
        "Answer 2.04 to POST: a boot, /fw/boot, by unicast",
        "POST: an order, /fw/activate, to the group",
        "POST: an order, /fw/activate, by unicast",
        "Answer 2.04 to POST: an order, /fw/activate, by unicast",
        "POST: an order, /fw/cancel, to the group",
    ] {
        assert!(listener.shown.contains(kind), "{kind}: {:#?}", listener.shown);
    }
    let page = format!("{}\n", listener.page.trim_end());
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        return std::fs::write(PAGE, page).unwrap();
    }
    assert!(std::fs::read_to_string(PAGE).unwrap() == page, "docs/examples.md is out of date");
}
