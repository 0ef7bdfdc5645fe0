//! The messages of a suite: every intermediate value, the same bytes from the sender, and the plaintext again
//! at the receiver.

use super::{
    json::{Comparison, Object, written},
    members::{Context, Suite},
};
use coap_wire::{Body, Message, Token, Type, Writer, option};
use group_oscore::{
    MemberId, MessageMode, Mode, OscoreOption, PartialIv, Received, ReceivedRequest, ResponseMode,
    ResponsePiv, SentRequest, inspect,
};

/// One message of a suite.
pub(super) struct Vector<'v> {
    object: Object<'v>,
    pub(super) label: &'v str,
    in_reply_to: Option<&'v str>,
    sender: &'v str,
    mode: MessageMode,
    unprotected: Vec<u8>,
    protected: Vec<u8>,
    option_value: Vec<u8>,
    /// The Partial IV in this message.
    piv: Option<PartialIv>,
    has_kid: bool,
}

pub(super) fn read<'v>(suite: &Suite<'v>) -> Result<Vec<Vector<'v>>, String> {
    suite.object.array("messages").map(Vector::read).collect()
}

/// The message with this label.
pub(super) fn find<'m, 'v>(messages: &'m [Vector<'v>], label: &str) -> Result<&'m Vector<'v>, String> {
    messages.iter().find(|message| message.label == label).ok_or_else(|| format!("no message {label:?}"))
}

impl<'v> Vector<'v> {
    fn read(object: Object<'v>) -> Result<Self, String> {
        let label = object.required_text("label")?;
        Self::with_label(object, label).map_err(|error| format!("message {label:?}: {error}"))
    }

    fn with_label(object: Object<'v>, label: &'v str) -> Result<Self, String> {
        let protected = object.required_bytes("protected_coap")?;
        let option_value = parse(&protected)?.option(option::OSCORE).ok_or("no OSCORE option")?.to_vec();
        let option = OscoreOption::parse(&option_value).ok_or("a malformed OSCORE option")?;
        let (piv, has_kid) = (option.partial_iv, option.kid.is_some());
        Ok(Self {
            object,
            label,
            in_reply_to: object.text("in_reply_to"),
            sender: object.required_text("sender")?,
            mode: match object.required_text("mode")? {
                "group" => MessageMode::Group,
                "pairwise" => MessageMode::Pairwise,
                other => return Err(format!("unknown mode {other}")),
            },
            unprotected: object.required_bytes("unprotected_coap")?,
            protected,
            option_value,
            piv,
            has_kid,
        })
    }

    /// The request that this message is or answers.
    fn request<'m>(&'m self, messages: &'m [Self]) -> Result<&'m Self, String> {
        self.in_reply_to.map_or(Ok(self), |label| find(messages, label))
    }

    /// The receiver: the sender of the request that this message answers, or the stated one, or the member
    /// that shares the key, or the other one of the suite's client and server.
    fn receiver(&self, suite: &Suite<'v>, messages: &[Self]) -> Result<String, String> {
        if self.in_reply_to.is_some() {
            return Ok(self.request(messages)?.sender.to_owned());
        }
        if let Some(receiver) = self.object.text("receiver") {
            return Ok(receiver.to_owned());
        }
        let (key, own) = (self.object.bytes("enc_key")?, suite.member(self.sender)?);
        for (name, other) in suite.members.iter().filter(|(name, _)| **name != self.sender) {
            if self.mode == MessageMode::Pairwise && key == Some(suite.pairwise_key(own, other)?) {
                return Ok((*name).to_owned());
            }
        }
        let (client, server) = (suite.object.required_text("client")?, suite.object.required_text("server")?);
        Ok(if self.sender == client { server } else { client }.to_owned())
    }

    /// Compares every value, and returns how many there were.
    pub(super) fn check(&self, suite: &Suite<'v>, messages: &[Self]) -> Result<usize, String> {
        let receiver = self.receiver(suite, messages)?;
        let request = self.request(messages)?;
        let count = self.check_values(suite, &receiver, request)?;
        if self.in_reply_to.is_none() {
            let (mut sender, mut receiver) = (self.sender_context(suite)?, suite.context(&receiver, 0)?);
            self.exchange_request(suite, &mut sender, &mut receiver, &self.receiver(suite, messages)?)?;
            return Ok(count);
        }
        self.exchange_response(suite, messages, request)?;
        Ok(count)
    }

    fn sender_context(&self, suite: &Suite<'v>) -> Result<Context, String> {
        suite.context(self.sender, self.piv.map_or(0, PartialIv::value))
    }

    /// Protects this request, checks for the same bytes, unprotects them, and returns the bindings of both
    /// sides.
    fn exchange_request(
        &self,
        suite: &Suite<'v>,
        sender: &mut Context,
        receiver: &mut Context,
        receiver_name: &str,
    ) -> Result<(SentRequest, ReceivedRequest), String> {
        let mode = match self.mode {
            MessageMode::Group => Mode::Group,
            MessageMode::Pairwise => Mode::Pairwise(suite.member(receiver_name)?.id),
        };
        let mut datagram = vec![0; 2048];
        let (length, binding) = sender
            .protect_request(&parse(&self.unprotected)?, mode, &mut datagram)
            .map_err(|error| format!("not protected: {error:?}"))?;
        datagram.truncate(length);
        self.check_protected(&datagram)?;
        match receiver.unprotect_request(&mut datagram) {
            Ok(Received::Fresh(mut verified)) => {
                let header = (verified.ty(), verified.message_id(), verified.token());
                self.check_verified(suite, header, (verified.kid(), verified.mode()), &verified.body())?;
                Ok((binding, verified.take_binding()))
            }
            other => Err(format!("not accepted by {receiver_name}: {other:?}")),
        }
    }

    /// Exchanges the request, then protects this response, checks for the same bytes, and unprotects them.
    fn exchange_response(&self, suite: &Suite<'v>, messages: &[Self], request: &Self) -> Result<(), String> {
        let (mut server, mut client) = (self.sender_context(suite)?, request.sender_context(suite)?);
        let (own, mut received) = request
            .exchange_request(suite, &mut client, &mut server, self.sender)
            .map_err(|error| format!("its request: {error}"))?;
        let mode = match self.mode {
            MessageMode::Group => ResponseMode::Group,
            MessageMode::Pairwise if self.has_kid => ResponseMode::PairwiseWithKid,
            MessageMode::Pairwise => ResponseMode::Pairwise,
        };
        let piv = if self.piv.is_some() { ResponsePiv::Own } else { ResponsePiv::OfRequest };
        let mut datagram = vec![0; 2048];
        let length = server
            .protect_response(&parse(&self.unprotected)?, &mut received, mode, piv, &mut datagram)
            .map_err(|error| format!("not protected: {error:?}"))?;
        datagram.truncate(length);
        self.check_protected(&datagram)?;
        let verified = client.unprotect_response(&mut datagram, &own);
        let receiver = self.receiver(suite, messages)?;
        let verified = verified.map_err(|error| format!("not accepted by {receiver}: {error:?}"))?;
        let header = (verified.ty(), verified.message_id(), verified.token());
        self.check_verified(suite, header, (verified.kid(), verified.mode()), &verified.body())
    }

    /// The binding of the client, for a response to this request.
    pub(super) fn client_binding(&self, suite: &Suite<'v>, messages: &[Self]) -> Result<SentRequest, String> {
        let receiver = self.receiver(suite, messages)?;
        let (mut sender, mut other) = (self.sender_context(suite)?, suite.context(&receiver, 0)?);
        Ok(self.exchange_request(suite, &mut sender, &mut other, &receiver)?.0)
    }

    fn check_protected(&self, datagram: &[u8]) -> Result<(), String> {
        let values = Comparison::with(self.object);
        let message = parse(datagram)?;
        values.equal("oscore_option", message.option(option::OSCORE).unwrap_or_default())?;
        values.equal("oscore_payload", message.payload())?;
        values.equal("protected_coap", datagram)
    }

    fn check_verified(
        &self,
        suite: &Suite<'v>,
        header: (Type, u16, Token),
        (kid, mode): (MemberId, MessageMode),
        body: &Body<'_>,
    ) -> Result<(), String> {
        let expected = parse(&self.unprotected)?;
        if header != (expected.ty(), expected.message_id(), expected.token()) {
            return Err("the header differs from the one before".to_owned());
        }
        if kid != suite.member(self.sender)?.id || mode != self.mode {
            return Err("the sender or mode differs from the one before".to_owned());
        }
        Comparison::with(self.object).equal("plaintext", &plaintext(body)?)
    }

    fn check_values(&self, suite: &Suite<'v>, receiver: &str, request: &Self) -> Result<usize, String> {
        let values = Comparison::with(self.object);
        let (sender, receiver) = (suite.member(self.sender)?, suite.member(receiver)?);
        let request_kid = suite.member(request.sender)?.id;
        let request_piv = request.piv.ok_or("its request has no Partial IV")?;
        let (generator, piv) = self.piv.map_or((request_kid, request_piv), |piv| (sender.id, piv));
        values.equal("request_kid", request_kid.as_bytes())?;
        values.equal("request_piv", request_piv.to_wire().as_bytes())?;
        values.equal("nonce_piv", piv.to_wire().as_bytes())?;
        values.equal("nonce_piv_generator_id", generator.as_bytes())?;

        let (algorithm, key) = match self.mode {
            MessageMode::Group => (suite.group_encryption, suite.sender_key(sender.id)?),
            MessageMode::Pairwise => (suite.aead, suite.pairwise_key(sender, receiver)?),
        };
        if self.object.member("enc_alg").is_some() && self.object.integer("enc_alg")? != algorithm.cose() {
            return Err(format!("enc_alg is {}", algorithm.cose()));
        }
        values.equal("enc_key", &key)?;
        let common_iv = suite.common_iv()?;
        let nonce = written(|out| inspect::nonce(algorithm, &common_iv, generator, piv, out))?;
        values.equal("nonce", &nonce)?;

        let aad = inspect::Aad {
            aead: suite.aead,
            request_kid,
            request_piv,
            group: Some(inspect::GroupAad {
                group_encryption: suite.group_encryption,
                request_gid: suite.gid,
                option: &self.option_value,
                sender_credential: sender.credential.as_bytes(),
                gm_credential: suite.gm_credential.as_bytes(),
            }),
        };
        values.equal("external_aad", &written(|out| aad.external_aad(out))?)?;
        values.equal("enc_structure", &written(|out| aad.enc_structure(out))?)?;
        let sealed = self.check_parts(&values)?;
        if self.mode == MessageMode::Group {
            values.equal("countersign_structure", &written(|out| aad.to_be_signed(&sealed, out))?)?;
            self.check_countersignature(&values, suite, (generator, piv))?;
        }
        Ok(values.count() + self.values_of_the_exchange())
    }

    /// How many values `check_protected` and `check_verified` compare in every exchange.
    fn values_of_the_exchange(&self) -> usize {
        let names = ["oscore_option", "oscore_payload", "protected_coap", "plaintext"];
        names.iter().filter(|name| self.object.member(name).is_some()).count()
    }

    /// Checks the payload's parts: ciphertext with tag, and the encrypted countersignature. Returns the
    /// former.
    fn check_parts(&self, values: &Comparison<'_>) -> Result<Vec<u8>, String> {
        // Protecting the message again shows that the payload itself is right.
        let payload = parse(&self.protected)?.payload().to_vec();
        let sealed_length = match self.mode {
            MessageMode::Group => payload.len().checked_sub(64).ok_or("the payload is too short")?,
            MessageMode::Pairwise => payload.len(),
        };
        let (sealed, encrypted) = payload.split_at(sealed_length);
        values.equal("ciphertext_and_tag", sealed)?;
        if self.mode == MessageMode::Group {
            values.equal("encrypted_signature", encrypted)?;
        }
        Ok(sealed.to_vec())
    }

    fn check_countersignature(
        &self,
        values: &Comparison<'_>,
        suite: &Suite<'v>,
        (generator, piv): (MemberId, PartialIv),
    ) -> Result<(), String> {
        let is_request = self.in_reply_to.is_none();
        let key = suite.signature_encryption_key()?;
        values.equal("keystream_salt", piv.to_wire().as_bytes())?;
        values.equal("keystream_ikm", &key)?;
        let info = written(|out| inspect::keystream_info(generator, suite.gid, is_request, out))?;
        values.equal("keystream_info", &info)?;
        let keystream = inspect::keystream(&key, generator, piv, suite.gid, is_request);
        let keystream = keystream.ok_or("no keystream")?;
        values.equal("keystream", &keystream)?;
        let payload = parse(&self.protected)?.payload().to_vec();
        let encrypted = payload.split_last_chunk::<64>().ok_or("the payload is too short")?.1;
        let signature: Vec<u8> = encrypted.iter().zip(keystream).map(|(byte, mask)| byte ^ mask).collect();
        values.equal("signature", &signature)
    }
}

pub(super) fn parse(datagram: &[u8]) -> Result<Message<'_>, String> {
    Message::parse(datagram).map_err(|error| format!("not a CoAP message: {error:?}"))
}

/// Code, options and payload.
fn plaintext(body: &Body<'_>) -> Result<Vec<u8>, String> {
    written(|out| {
        let mut writer = Writer::body(out, body.code()).ok()?;
        writer.options(body.options()).ok()?.payload(body.payload()).ok()?;
        Some(writer.finish())
    })
}
