//! Inspecting datagrams, and writing an agent's messages by hand.

use super::agent::agent_address;
use super::fleet::{Fleet, coap_group};
use super::group;
use coap_wire::{Block, Code, Message, Token, Type, Writer, option};
use group_oscore::{
    MessageMode, Mode, OscoreOption, Received, ReplayWindow, ResponseMode, ResponsePiv, SequenceNumbers,
};
use update_core::census::Report;
use update_core::distribution::Input;
use update_core::resource::Resource;
use update_core::time::Duration;

/// A multicast request as an independent Group OSCORE peer sees it.
pub struct Seen {
    pub ty: Type,
    pub code: Code,
    pub path: String,
    pub block1: Option<Block>,
    pub no_response: Option<u8>,
    pub query: Vec<u8>,
    pub payload: Vec<u8>,
    pub piv: u64,
    pub outer_options: Vec<u16>,
}

/// Unprotects everything that was sent to the group.
pub fn seen(fleet: &Fleet<'_>) -> Vec<Seen> {
    let sent = fleet.sent.iter().filter(|(to, _)| *to == coap_group());
    seen_in(sent.map(|(_, datagram)| datagram))
}

/// Unprotects these datagrams.
pub fn seen_in<'a>(datagrams: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Seen> {
    let mut peer = group::agent_context(0, SequenceNumbers::new(0, 0), ReplayWindow::fresh());
    let look = |datagram: &Vec<u8>| {
        let mut bytes = datagram.clone();
        let Ok(Received::Fresh(request)) = peer.unprotect_request(&mut bytes) else { panic!("it is new") };
        assert_eq!(request.mode(), MessageMode::Group);
        let body = request.body();
        let path = body.uri_path().map(|segment| format!("/{}", String::from_utf8_lossy(segment))).collect();
        let outer = Message::parse(datagram).unwrap();
        Seen {
            ty: request.ty(),
            code: body.code(),
            path,
            block1: body.option(option::BLOCK1).map(|value| Block::parse(value).unwrap()),
            no_response: body.option(option::NO_RESPONSE).map(|value| value[0]),
            query: body.option(option::URI_QUERY).unwrap_or_default().to_vec(),
            payload: body.payload().to_vec(),
            piv: request.partial_iv().unwrap().value(),
            outer_options: outer.options().map(|option| option.number).collect(),
        }
    };
    datagrams.map(look).collect()
}

/// A request from an agent with this context.
pub fn request(
    context: &mut update_core::reception::AgentContext,
    token: u8,
    resource: Resource,
    block: Option<Block>,
    echo: &[u8],
) -> (Vec<u8>, group_oscore::SentRequest) {
    let mut plain = [0; 256];
    let token = Token::new(&[token]).unwrap();
    let code = if resource == Resource::Boot { Code::POST } else { Code::GET };
    let mut writer = Writer::message(&mut plain, Type::NonConfirmable, code, 1, token).unwrap();
    resource.write_path(&mut writer).unwrap();
    if let Some(block) = block {
        writer.option(option::BLOCK2, block.encode().as_bytes()).unwrap();
    }
    if !echo.is_empty() {
        writer.option(option::ECHO, echo).unwrap();
    }
    let len = writer.finish();
    let mut out = vec![0; 512];
    let message = Message::parse(&plain[..len]).unwrap();
    let mode = Mode::Pairwise(group::distributor_id());
    let (len, binding) = context.protect_request(&message, mode, &mut out).unwrap();
    out.truncate(len);
    (out, binding)
}

/// The properties of a handmade answer.
pub struct ByHand<'a> {
    pub ty: Type,
    pub code: Code,
    pub payload: &'a [u8],
    pub piv: ResponsePiv,
    pub mode: ResponseMode,
}

impl<'a> ByHand<'a> {
    /// As agents send it.
    pub fn new(payload: &'a [u8]) -> Self {
        Self {
            ty: Type::NonConfirmable,
            code: Code::CONTENT,
            payload,
            piv: ResponsePiv::Own,
            mode: ResponseMode::Pairwise,
        }
    }
}

/// The answer of an agent with this context to a question; `None` if the datagram is not a question.
pub fn answer(
    context: &mut update_core::reception::AgentContext,
    question: &[u8],
    by_hand: &ByHand<'_>,
) -> Option<Vec<u8>> {
    let mut bytes = question.to_vec();
    let Ok(Received::Fresh(mut request)) = context.unprotect_request(&mut bytes) else { return None };
    let is_question = request.body().code() == Code::FETCH;
    let (token, mut binding) = (request.token(), request.take_binding());
    let mut plain = [0; 1000];
    let mut writer = Writer::message(&mut plain, by_hand.ty, by_hand.code, 7, token).unwrap();
    writer.payload(by_hand.payload).unwrap();
    let len = writer.finish();
    let message = Message::parse(&plain[..len]).unwrap();
    let mut out = vec![0; 1232];
    let len = context.protect_response(&message, &mut binding, by_hand.mode, by_hand.piv, &mut out).ok()?;
    out.truncate(len);
    is_question.then_some(out)
}

/// The payload of a report.
pub fn report(report: &Report<'_>) -> Vec<u8> {
    let mut payload = [0; 800];
    let len = report.encode(&mut payload).unwrap();
    payload[..len].to_vec()
}

/// The last question sent to the group.
pub fn last_question(fleet: &Fleet<'_>) -> Option<Vec<u8>> {
    let mut peer = group::agent_context(0, SequenceNumbers::new(0, 0), ReplayWindow::fresh());
    let is_question = |datagram: &Vec<u8>| {
        let mut bytes = datagram.clone();
        let received = peer.unprotect_request(&mut bytes);
        matches!(received, Ok(Received::Fresh(request)) if request.body().code() == Code::FETCH)
    };
    let to_group =
        fleet.sent.iter().filter(|(to, _)| *to == coap_group()).map(|(_, datagram)| datagram.clone());
    to_group.filter(is_question).last()
}

/// Hands a datagram from this agent's address to the distribution.
pub fn hand_in(fleet: &mut Fleet<'_>, index: usize, datagram: &[u8]) {
    let mut bytes = datagram.to_vec();
    let input = Input::Datagram { from: agent_address(index), bytes: &mut bytes };
    fleet.distribution.handle(fleet.now, input);
}

/// Hands a datagram to the distribution and returns what it sends to agent 0 within a moment.
pub fn exchange(fleet: &mut Fleet<'_>, datagram: &[u8]) -> Vec<Vec<u8>> {
    let before = fleet.sent.len();
    let mut bytes = datagram.to_vec();
    fleet.distribution.handle(fleet.now, Input::Datagram { from: agent_address(0), bytes: &mut bytes });
    for _ in 0..20 {
        fleet.drive(&mut |_| 0);
        fleet.now = fleet.now + Duration::from_micros(500);
    }
    let to_agent = fleet.sent[before..].iter().filter(|(to, _)| *to == agent_address(0));
    to_agent.map(|(_, bytes)| bytes.clone()).collect()
}

pub fn piv_of(datagram: &[u8]) -> Option<u64> {
    OscoreOption::of(&Message::parse(datagram).unwrap())
        .unwrap()
        .partial_iv
        .map(group_oscore::PartialIv::value)
}
