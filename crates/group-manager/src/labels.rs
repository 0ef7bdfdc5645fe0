//! The labels of RFC 9594 section 8 and of the OSCORE profile (draft-ietf-ace-key-groupcomm-oscore-21), and
//! one of our own.

/// Parameters of a message (RFC 9594 section 8; 21 and 34: section 11 of the profile).
pub(crate) mod parameter {
    pub(crate) const GKTY: i64 = 7;
    pub(crate) const KEY: i64 = 8;
    pub(crate) const NUM: i64 = 9;
    pub(crate) const PROFILE: i64 = 10;
    pub(crate) const EXI: i64 = 12;
    pub(crate) const CREDS: i64 = 13;
    pub(crate) const PEER_ROLES: i64 = 14;
    pub(crate) const PEER_IDENTIFIERS: i64 = 15;
    pub(crate) const GROUP_SENDER_ID: i64 = 21;
    pub(crate) const STALE_NODE_IDS: i64 = 34;
    /// Where the group is: for private use, below -65536.
    pub(crate) const PLACE: i64 = -65537;
}

/// The content of `key`: `Group_OSCORE_Input_Material`.
pub(crate) mod key {
    pub(crate) const MASTER_SECRET: i64 = 2;
    pub(crate) const HKDF: i64 = 3;
    pub(crate) const ALG: i64 = 4;
    pub(crate) const SALT: i64 = 5;
    pub(crate) const CONTEXT_ID: i64 = 6;
    pub(crate) const GROUP_SENDER_ID: i64 = 7;
    pub(crate) const CRED_FMT: i64 = 8;
    pub(crate) const GP_ENC_ALG: i64 = 9;
    pub(crate) const SIGN_ALG: i64 = 10;
    pub(crate) const SIGN_PARAMS: i64 = 11;
    pub(crate) const ECDH_ALG: i64 = 12;
    pub(crate) const ECDH_PARAMS: i64 = 13;
}

/// The content of `PLACE`: addresses as 4 or 16 bytes of IP address and two of the port.
pub(crate) mod place {
    pub(crate) const COAP_GROUP: i64 = 1;
    pub(crate) const DISTRIBUTOR: i64 = 2;
    /// The distributor's next Sender Sequence Number under these keys.
    pub(crate) const NEXT: i64 = 3;
}

/// `gkty`: `Group_OSCORE_Input_Material`.
pub(crate) const GROUP_OSCORE_INPUT_MATERIAL: i64 = 1;
/// `ace_groupcomm_profile`: `coap_group_oscore_app`.
pub(crate) const COAP_GROUP_OSCORE_APP: i64 = 1;
/// `exi`: keys hold until the next rekey. A hundred years are for ever.
pub(crate) const EXI_FOR_EVER: u32 = 3_153_600_000;
/// `peer_roles` of the distributor: requester (RFC 9594 and the profile: a bit for each role, 1 for
/// requester).
pub(crate) const REQUESTER: i64 = 1 << 1;
/// HMAC 256/256.
pub(crate) const HKDF_SHA_256: i64 = 5;
/// Credentials are CCSs.
pub(crate) const CRED_FMT_CCS: i64 = 14;
/// EdDSA on Ed25519.
pub(crate) const SIGN_EDDSA: i64 = -8;
pub(crate) const SIGN_PARAMS: [&[i64]; 2] = [&[1], &[1, 6]];
/// ECDH-SS + HKDF-256 on X25519.
pub(crate) const ECDH_SS_HKDF_256: i64 = -27;
pub(crate) const ECDH_PARAMS: [&[i64]; 2] = [&[1], &[1, 4]];

/// Content-Format `application/ace-groupcomm+cbor`.
#[cfg(feature = "manager")]
pub(crate) const CONTENT_FORMAT: u16 = 261;
/// Content-Format `application/concise-problem-details+cbor`.
#[cfg(feature = "manager")]
pub(crate) const PROBLEM_DETAILS: u16 = 257;
