//! A CoAP datagram (RFC 7252), checked once and then trusted. No state, no heap, no panics.
//!
//! [`Message::parse`] checks every byte of a datagram. Nothing that it returns can fail later: options come
//! in order with their values in place, a payload is never empty, and [`Writer`] writes the same bytes again.
//! [`Body`] is the part after the header and also the plaintext of OSCORE (RFC 8613 section 5.3).
//!
//! ```
//! use coap_wire::{Block, Code, Message, NoResponse, Token, Type, Writer, option};
//!
//! # fn example() -> Option<()> {
//! let token = Token::new(&[0xca, 0xfe])?;
//! let block = Block { number: 5, more: true, size_exponent: 2 };
//! let mut datagram = [0; 128];
//! let mut writer = Writer::message(&mut datagram, Type::NonConfirmable, Code::PUT, 7, token).ok()?;
//! writer.option(option::URI_PATH, b"fw").ok()?;
//! writer.option(option::URI_PATH, b"image").ok()?;
//! writer.option(option::BLOCK1, block.encode().as_bytes()).ok()?;
//! writer.option_uint(option::NO_RESPONSE, NoResponse::ALL_SUPPRESSED.value().into()).ok()?;
//! writer.payload(&[0x55; 64]).ok()?;
//! let length = writer.finish();
//!
//! let message = Message::parse(&datagram[..length]).ok()?;
//! assert_eq!((message.code(), message.token()), (Code::PUT, token));
//! assert!(message.uri_path().eq([&b"fw"[..], b"image"]));
//! assert_eq!(Block::parse(message.option(option::BLOCK1)?), Ok(block));
//! assert_eq!(message.payload(), [0x55; 64]);
//! # Some(())
//! # }
//! # example().unwrap();
//! ```
//!
//! # What this crate adds
//!
//! Option encoding is that of [`coap-message-implementations`](coap_message_implementations), numbers are
//! those of [`coap-numbers`](coap_numbers). This crate adds what they leave out:
//!
//! - the header (version, type, Message ID, Token) and the rules of the Empty message;
//! - the check itself. `inmemory::Message` accepts any bytes and shows an error as option 65535, and it
//!   accepts a payload marker with nothing after it. Its values live only as long as the borrow of the
//!   message. So reading uses its `OptPayloadReader` directly, once for the check and then for every access.
//!   That reader describes an error only in text for people, hence the single [`MessageError::Option`];
//! - guards around `inmemory::MessageMut`. It truncates the length of a value to 16 bits, leaves a gap when
//!   an option is added after the payload, and panics when a payload is started in a full buffer: [`Writer`]
//!   refuses all three;
//! - typed values: [`Block`], [`NoResponse`], [`Code`], [`Token`].
//!
//! Not included: retransmission, deduplication, observation, block-wise transfer and CoAP over TCP.
#![no_std]

pub mod option;

mod block;
mod body;
mod code;
mod message;
mod no_response;
mod writer;

pub use block::{Block, BlockBytes, BlockError};
pub use body::{Body, Opt, Options, UriPath};
pub use code::Code;
pub use message::{HEADER_BYTES, Message, MessageError, TOKEN_BYTES_MAX, Token, Type};
pub use no_response::NoResponse;
pub use writer::{WriteError, Writer};
