//! Recipient Contexts: the other members (RFC 10021 section 2.2).

use crate::{
    CommonContext, Credential, DeriveError, MemberId, ReplayWindow,
    key::{self, Key},
    mark::Mark,
    sender::SenderContext,
};
use core::fmt;
use ed25519_dalek::VerifyingKey;

/// Another member: Recipient Key, credential, replay window and, once they were needed, the keys of pairwise
/// mode with it. It belongs to the group of the Common Context that it was derived from.
pub struct RecipientContext {
    pub(crate) id: MemberId,
    pub(crate) credential: Credential,
    pub(crate) verifying_key: VerifyingKey,
    pub(crate) key: Key,
    pub(crate) window: ReplayWindow,
    /// The mark of the group.
    pub(crate) mark: Mark,
    pairwise: Option<PairwiseKeys>,
}

/// The keys of pairwise mode with one member (RFC 10021 section 2.5.1).
#[derive(Clone)]
pub(crate) struct PairwiseKeys {
    /// The Pairwise Sender Key.
    pub(crate) sender: Key,
    /// The Pairwise Recipient Key.
    pub(crate) recipient: Key,
}

impl RecipientContext {
    /// Derives the Recipient Key.
    ///
    /// # Errors
    /// [`DeriveError::MemberIdTooLong`] and [`DeriveError::InvalidPublicKey`].
    // Not inlined, so that its stack is free again afterwards.
    #[inline(never)]
    pub fn derive(
        common: &CommonContext,
        id: MemberId,
        credential: Credential,
        window: ReplayWindow,
    ) -> Result<Self, DeriveError> {
        let verifying_key = credential.verifying_key()?;
        Ok(Self {
            id,
            key: common.member_key(id)?,
            credential,
            verifying_key,
            window,
            mark: common.mark,
            pairwise: None,
        })
    }

    /// The Recipient ID.
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// The member's credential.
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The replay window.
    pub const fn window(&self) -> &ReplayWindow {
        &self.window
    }

    /// The replay window, to replace it.
    pub const fn window_mut(&mut self) -> &mut ReplayWindow {
        &mut self.window
    }

    /// The keys of pairwise mode, derived when first needed. `None` if the key agreement fails.
    pub(crate) fn pairwise_keys(
        &mut self,
        common: &CommonContext,
        sender: &SenderContext,
    ) -> Option<&PairwiseKeys> {
        if self.pairwise.is_none() {
            let secret = sender.shared_secret(&self.verifying_key)?;
            let key = |id: MemberId, sender_key, credentials| {
                let gid = common.gid.as_bytes();
                key::pairwise_key(common.aead, gid, id.as_bytes(), sender_key, credentials, secret.as_bytes())
            };
            let (own, peer) = (sender.credential.as_bytes(), self.credential.as_bytes());
            self.pairwise = Some(PairwiseKeys {
                sender: key(sender.id, &sender.key, [own, peer])?,
                recipient: key(self.id, &self.key, [peer, own])?,
            });
        }
        self.pairwise.as_ref()
    }
}

impl fmt::Debug for RecipientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientContext").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where a group finds its Recipient Contexts. With many members, implement this for your own map.
pub trait Recipients {
    /// The Recipient Context with this Recipient ID.
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext>;

    /// All of them, in any order.
    fn iter(&self) -> impl Iterator<Item = &RecipientContext>;
}

impl Recipients for [RecipientContext] {
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext> {
        self.iter_mut().find(|recipient| recipient.id == id)
    }

    fn iter(&self) -> impl Iterator<Item = &RecipientContext> {
        <[RecipientContext]>::iter(self)
    }
}

impl<const N: usize> Recipients for [RecipientContext; N] {
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext> {
        Recipients::get_mut(self.as_mut_slice(), id)
    }

    fn iter(&self) -> impl Iterator<Item = &RecipientContext> {
        self.as_slice().iter()
    }
}

impl<R: Recipients + ?Sized> Recipients for &mut R {
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext> {
        (**self).get_mut(id)
    }

    fn iter(&self) -> impl Iterator<Item = &RecipientContext> {
        Recipients::iter(&**self)
    }
}
