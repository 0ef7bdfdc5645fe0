//! The security group of a world: everyone's keys, and the contexts made from them.

use super::Dice;
use ed25519_dalek::SigningKey;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, RecipientContext,
    ReplayWindow, SenderContext, SequenceNumbers, encode_ccs,
};
use update_core::digest::Digest;
use update_core::distribution::Members;
use update_core::key_set::KeySet;
use update_core::reception::AgentContext;

/// One member of the group.
pub struct Member {
    /// Its Sender ID.
    pub id: MemberId,
    /// The hash of its name, for targets.
    pub name: Digest,
    seed: [u8; 32],
    credential: Credential,
}

/// The members of the group.
pub struct Keys {
    common: CommonContext,
    /// The distributor.
    pub distributor: Member,
    /// The agents.
    pub agents: Vec<Member>,
    /// A member with the group's secret and its own key, but without a role.
    insider: Member,
    image_key: SigningKey,
    /// What agents trust.
    pub key_set: KeySet,
}

impl Keys {
    /// A group with this many agents.
    #[must_use]
    pub fn new(agents: usize, algorithms: [AeadAlgorithm; 2], dice: &mut Dice) -> Self {
        let [aead, group_encryption] = algorithms;
        let manager = member(&[0xff], dice);
        let common = CommonContext::derive(&GroupParameters {
            gid: Gid::new(&dice.bytes(4)).expect("4 bytes are a Gid"),
            master_secret: &dice.bytes(16),
            master_salt: &dice.bytes(8),
            aead,
            group_encryption,
            gm_credential: manager.credential,
        });
        let image_key = SigningKey::from_bytes(&seed(dice));
        let key_set = KeySet::new(1, &[image_key.verifying_key().to_bytes()]).expect("a good key");
        Self {
            common: common.expect("the parameters are right"),
            distributor: member(&[0], dice),
            agents: (0..agents).map(|index| member(&agent_id(index), dice)).collect(),
            insider: member(&[0xfe], dice),
            image_key,
            key_set,
        }
    }

    /// A signature by the image key.
    #[must_use]
    pub fn sign_image(&self, bytes: &[u8]) -> [u8; 64] {
        ed25519_dalek::Signer::sign(&self.image_key, bytes).to_bytes()
    }

    /// The Gid, for the agents' records.
    #[must_use]
    pub fn gid(&self) -> Gid {
        self.common.gid()
    }

    /// The context that an agent starts with.
    #[must_use]
    pub fn agent_context(
        &self,
        index: usize,
        numbers: SequenceNumbers,
        window: ReplayWindow,
    ) -> AgentContext {
        let sender = self.sender(&self.agents[index], numbers);
        GroupContext::new(self.common.clone(), sender, [self.recipient(&self.distributor, window)])
            .expect("one group")
    }

    /// The context that the distributor starts with, with a window for each agent.
    #[must_use]
    pub fn distributor_context(
        &self,
        numbers: SequenceNumbers,
        windows: impl IntoIterator<Item = ReplayWindow>,
    ) -> GroupContext<Members> {
        let sender = self.sender(&self.distributor, numbers);
        let recipients =
            self.agents.iter().zip(windows).map(|(agent, window)| self.recipient(agent, window)).collect();
        GroupContext::new(self.common.clone(), sender, Members::new(recipients)).expect("one group")
    }

    /// What a member without a role can do: send under its own name, or under the distributor's name with its
    /// own key. Every member can derive the distributor's Sender Key; only the countersignature is missing.
    #[must_use]
    pub fn insider_context(&self, as_distributor: bool, next: u64) -> GroupContext<Members> {
        let (mut id, mut credential) = (self.insider.id, self.insider.credential.clone());
        if as_distributor {
            id = self.distributor.id;
            let public = *self.insider.credential.public_key();
            credential = Credential::with_key(self.distributor.credential.as_bytes(), public)
                .expect("the distributor's credential is not too long");
        }
        let numbers = SequenceNumbers::new(next, u64::MAX);
        let sender = SenderContext::derive(&self.common, id, credential, &self.insider.seed, numbers);
        let recipients =
            self.agents.iter().map(|agent| self.recipient(agent, ReplayWindow::fresh())).collect();
        let sender = sender.expect("the key belongs to it");
        GroupContext::new(self.common.clone(), sender, Members::new(recipients)).expect("one group")
    }

    fn sender(&self, member: &Member, numbers: SequenceNumbers) -> SenderContext {
        SenderContext::derive(&self.common, member.id, member.credential.clone(), &member.seed, numbers)
            .expect("the key belongs to the credential")
    }

    fn recipient(&self, member: &Member, window: ReplayWindow) -> RecipientContext {
        RecipientContext::derive(&self.common, member.id, member.credential.clone(), window)
            .expect("a good credential")
    }
}

/// Sender IDs of agents begin with 1. They have one byte up to 200, two bytes above.
fn agent_id(index: usize) -> Vec<u8> {
    match u8::try_from(index + 1) {
        Ok(id) if id <= 200 => vec![id],
        _ => (index as u16 + 1000).to_be_bytes().to_vec(),
    }
}

fn seed(dice: &mut Dice) -> [u8; 32] {
    dice.bytes(32).try_into().expect("32 bytes")
}

fn member(id: &[u8], dice: &mut Dice) -> Member {
    let seed = seed(dice);
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let mut ccs = [0; 64];
    let len = encode_ccs(&public, &mut ccs).expect("a CCS has 46 bytes");
    Member {
        id: MemberId::new(id).expect("a short ID"),
        name: Digest::of(id),
        seed,
        credential: Credential::from_ccs(&ccs[..len]).expect("a good CCS"),
    }
}
