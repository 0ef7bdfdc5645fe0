//! The group of a suite: its members and everything derived for them.

use super::json::{Comparison, Object, written};
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, RecipientContext,
    ReplayWindow, SenderContext, SequenceNumbers,
    inspect::{self, Output},
    limits,
};
use std::collections::BTreeMap;

/// One suite of a file.
pub(super) struct Suite<'v> {
    pub(super) object: Object<'v>,
    pub(super) gid: Gid,
    pub(super) aead: AeadAlgorithm,
    pub(super) group_encryption: AeadAlgorithm,
    pub(super) gm_credential: Credential,
    pub(super) members: BTreeMap<&'v str, Member<'v>>,
    master_secret: Vec<u8>,
    master_salt: Vec<u8>,
}

/// One member.
pub(super) struct Member<'v> {
    object: Object<'v>,
    pub(super) id: MemberId,
    pub(super) seed: [u8; 32],
    pub(super) credential: Credential,
}

/// The other members of a context.
pub(super) type Others = Vec<RecipientContext>;

/// A member's context, its recipients in a list.
pub(super) type Context = GroupContext<OtherMembers>;

/// Recipient Contexts in a list.
pub(super) struct OtherMembers(Others);

impl group_oscore::Recipients for OtherMembers {
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext> {
        group_oscore::Recipients::get_mut(self.0.as_mut_slice(), id)
    }

    fn iter(&self) -> impl Iterator<Item = &RecipientContext> {
        self.0.iter()
    }
}

impl<'v> Suite<'v> {
    pub(super) fn read(object: Object<'v>) -> Result<Self, String> {
        let group = object.object("group")?;
        for (name, only) in [("hkdf", 5), ("alg_signature", -8), ("alg_pairwise_key_agreement", -27)] {
            let number = group.member(name).map_or(Ok(only), |_| group.integer(name))?;
            if number != only {
                return Err(format!("{name} is {number}, and only {only} is implemented"));
            }
        }
        let algorithm = |name| {
            let number = group.integer(name)?;
            AeadAlgorithm::from_cose(number).ok_or_else(|| format!("{name} {number} is not implemented"))
        };
        let mut members = BTreeMap::new();
        for (name, member) in object.object("keys")?.object("members")?.entries() {
            members.insert(name, Member::read(member).map_err(|error| format!("member {name}: {error}"))?);
        }
        Ok(Self {
            object,
            gid: Gid::new(&group.required_bytes("gid")?).ok_or("gid is too long")?,
            aead: algorithm("alg_aead")?,
            group_encryption: algorithm("alg_group_enc")?,
            // The Group Manager's key is not used for anything here.
            gm_credential: credential(&group.required_bytes("gm_cred")?, [0; 32])?,
            members,
            master_secret: group.required_bytes("master_secret")?,
            master_salt: group.bytes("master_salt")?.unwrap_or_default(),
        })
    }

    pub(super) fn member(&self, name: &str) -> Result<&Member<'v>, String> {
        self.members.get(name).ok_or_else(|| format!("no member {name}"))
    }

    /// The context of a member whose next number is `next`, and who has received nothing yet.
    pub(super) fn context(&self, name: &str, next: u64) -> Result<Context, String> {
        let parameters = GroupParameters {
            gid: self.gid,
            master_secret: &self.master_secret,
            master_salt: &self.master_salt,
            aead: self.aead,
            group_encryption: self.group_encryption,
            gm_credential: self.gm_credential.clone(),
        };
        let common = CommonContext::derive(&parameters).map_err(|error| format!("{error:?}"))?;
        let own = self.member(name)?;
        let numbers = SequenceNumbers::new(next, limits::SEQUENCE_NUMBER_MAX + 1);
        let sender = SenderContext::derive(&common, own.id, own.credential.clone(), &own.seed, numbers)
            .map_err(|error| format!("{name}: {error:?}"))?;
        let mut others = Vec::new();
        for (other, member) in self.members.iter().filter(|(other, _)| **other != name) {
            let credential = member.credential.clone();
            let recipient = RecipientContext::derive(&common, member.id, credential, ReplayWindow::fresh());
            others.push(recipient.map_err(|error| format!("{other}: {error:?}"))?);
        }
        GroupContext::new(common, sender, OtherMembers(others)).map_err(|error| error.to_string())
    }

    /// The key of a member, the Sender Key.
    pub(super) fn sender_key(&self, id: MemberId) -> Result<Vec<u8>, String> {
        self.key(Output::Key, id.as_bytes(), self.group_encryption.key_length())
    }

    /// The length of the longest nonce, which is also that of the Common IV.
    fn iv_length(&self) -> usize {
        self.aead.nonce_length().max(self.group_encryption.nonce_length())
    }

    pub(super) fn common_iv(&self) -> Result<Vec<u8>, String> {
        self.key(Output::Iv(self.iv_length()), &[], self.iv_length())
    }

    pub(super) fn signature_encryption_key(&self) -> Result<Vec<u8>, String> {
        self.key(Output::SignatureEncryptionKey, &[], self.group_encryption.key_length())
    }

    /// The key of pairwise mode from one member to another.
    pub(super) fn pairwise_key(&self, from: &Member<'_>, to: &Member<'_>) -> Result<Vec<u8>, String> {
        let secret = shared_secret(from, to)?;
        let sender_key = self.sender_key(from.id)?;
        let credentials = [from.credential.as_bytes(), to.credential.as_bytes()];
        written(|out| {
            inspect::pairwise_key(self.aead, self.gid, from.id, &sender_key, credentials, &secret, out)
        })
    }

    fn info(&self, id: &[u8], algorithm: AeadAlgorithm, output: Output) -> Result<Vec<u8>, String> {
        written(|out| inspect::key_info(id, Some(self.gid.as_bytes()), algorithm, output, out))
    }

    fn key(&self, output: Output, id: &[u8], length: usize) -> Result<Vec<u8>, String> {
        let info = self.info(id, self.group_encryption, output)?;
        let mut key = vec![0; length];
        inspect::derive(&self.master_secret, &self.master_salt, &info, &mut key)
            .ok_or("the key is too long")?;
        Ok(key)
    }

    /// Compares every value under `keys` and returns how many there were.
    pub(super) fn check_keys(&self) -> Result<usize, String> {
        let keys = self.object.object("keys")?;
        let common = Comparison::with(keys);
        common.equal("common_iv", &self.common_iv()?)?;
        common.equal("signature_encryption_key", &self.signature_encryption_key()?)?;
        let iv = Output::Iv(self.iv_length());
        common.equal("common_iv_info", &self.info(&[], self.group_encryption, iv)?)?;
        let info = self.info(&[], self.group_encryption, Output::SignatureEncryptionKey)?;
        common.equal("signature_encryption_key_info", &info)?;
        let mut count = common.count();
        for (name, member) in &self.members {
            count += self.check_member(member).map_err(|error| format!("member {name}: {error}"))?;
        }
        for pair in keys.array("pairwise") {
            let (from, to) = (pair.required_text("from")?, pair.required_text("to")?);
            count += self.check_pair(pair, from, to).map_err(|error| format!("{from} to {to}: {error}"))?;
        }
        Ok(count)
    }

    fn check_member(&self, member: &Member<'_>) -> Result<usize, String> {
        let values = Comparison::with(member.object);
        let public_key = member.credential.public_key();
        values.equal("sender_key", &self.sender_key(member.id)?)?;
        let info = self.info(member.id.as_bytes(), self.group_encryption, Output::Key)?;
        values.equal("sender_key_info", &info)?;
        values.equal("ed25519_public", public_key)?;
        values.equal("x25519_private_clamped", &inspect::x25519_private_key(&member.seed))?;
        let x25519_public = inspect::x25519_public_key(public_key).ok_or("a bad public key")?;
        values.equal("x25519_public", &x25519_public)?;
        Ok(values.count())
    }

    fn check_pair(&self, pair: Object<'_>, from: &str, to: &str) -> Result<usize, String> {
        let values = Comparison::with(pair);
        let (from, to) = (self.member(from)?, self.member(to)?);
        let secret = shared_secret(from, to)?;
        values.equal("shared_secret", &secret)?;
        values.equal("salt_sender_key", &self.sender_key(from.id)?)?;
        values.equal("ikm", &[from.credential.as_bytes(), to.credential.as_bytes(), &secret].concat())?;
        values.equal("info", &self.info(from.id.as_bytes(), self.aead, Output::Key)?)?;
        values.equal("pairwise_key", &self.pairwise_key(from, to)?)?;
        Ok(values.count())
    }
}

impl<'v> Member<'v> {
    fn read(object: Object<'v>) -> Result<Self, String> {
        Ok(Self {
            object,
            id: MemberId::new(&object.required_bytes("sender_id")?).ok_or("sender_id is too long")?,
            seed: object.fixed_bytes("ed25519_seed")?,
            credential: credential(&object.required_bytes("cred")?, object.fixed_bytes("ed25519_public")?)?,
        })
    }
}

fn shared_secret(from: &Member<'_>, to: &Member<'_>) -> Result<[u8; 32], String> {
    let secret = inspect::shared_secret(&from.seed, to.credential.public_key());
    secret.ok_or_else(|| "no shared secret".to_owned())
}

/// A CCS, or bytes of another format that belong to this key.
fn credential(bytes: &[u8], public_key: [u8; 32]) -> Result<Credential, String> {
    Credential::from_ccs(bytes)
        .or_else(|_| Credential::with_key(bytes, public_key))
        .map_err(|error| format!("credential: {error:?}"))
}
