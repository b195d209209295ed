//! Messages of the agent protocol (RFC 9987 § 3), with what has to be known of their insides to damage them with purpose.

/// SSH_AGENT_FAILURE.
pub(crate) const FAILURE: u8 = 5;
/// SSH_AGENTC_REMOVE_ALL_RSA_IDENTITIES, of SSH 1. It has no body, and empties ssh-agent to this day.
pub(crate) const REMOVE_ALL_RSA_IDENTITIES: u8 = 9;
/// SSH_AGENTC_REQUEST_IDENTITIES.
pub(crate) const REQUEST_IDENTITIES: u8 = 11;
/// SSH_AGENT_IDENTITIES_ANSWER.
pub(crate) const IDENTITIES_ANSWER: u8 = 12;
/// SSH_AGENTC_SIGN_REQUEST.
pub(crate) const SIGN_REQUEST: u8 = 13;
/// SSH_AGENTC_ADD_IDENTITY.
pub(crate) const ADD_IDENTITY: u8 = 17;
/// SSH_AGENTC_REMOVE_IDENTITY.
pub(crate) const REMOVE_IDENTITY: u8 = 18;
/// SSH_AGENTC_REMOVE_ALL_IDENTITIES.
pub(crate) const REMOVE_ALL_IDENTITIES: u8 = 19;
/// SSH_AGENTC_ADD_SMARTCARD_KEY.
pub(crate) const ADD_SMARTCARD_KEY: u8 = 20;
/// SSH_AGENTC_REMOVE_SMARTCARD_KEY.
pub(crate) const REMOVE_SMARTCARD_KEY: u8 = 21;
/// SSH_AGENTC_LOCK.
pub(crate) const LOCK: u8 = 22;
/// SSH_AGENTC_UNLOCK.
pub(crate) const UNLOCK: u8 = 23;
/// SSH_AGENTC_ADD_ID_CONSTRAINED.
pub(crate) const ADD_ID_CONSTRAINED: u8 = 25;
/// SSH_AGENTC_ADD_SMARTCARD_KEY_CONSTRAINED.
pub(crate) const ADD_SMARTCARD_KEY_CONSTRAINED: u8 = 26;
/// SSH_AGENTC_EXTENSION.
pub(crate) const EXTENSION: u8 = 27;
/// SSH_AGENT_EXTENSION_FAILURE.
pub(crate) const EXTENSION_FAILURE: u8 = 28;

/// SSH_AGENT_CONSTRAIN_LIFETIME.
pub(crate) const CONSTRAIN_LIFETIME: u8 = 1;
/// SSH_AGENT_CONSTRAIN_CONFIRM.
pub(crate) const CONSTRAIN_CONFIRM: u8 = 2;
/// SSH_AGENT_CONSTRAIN_EXTENSION.
pub(crate) const CONSTRAIN_EXTENSION: u8 = 255;

/// A message, or a part of one.
#[derive(Clone, Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    /// Where the lengths of its strings are, those of strings in strings too.
    lengths: Vec<usize>,
    /// Lengths of its beginnings that are messages of their own.
    whole: Vec<usize>,
}

impl Message {
    /// The message with this number, and no body yet.
    pub(crate) fn new(number: u8) -> Self {
        Self::default().byte(number)
    }

    /// Appends a byte.
    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.bytes.push(byte);
        self
    }

    /// Appends a number.
    pub(crate) fn uint32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// Appends bytes without a length.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a string: its length and its bytes.
    pub(crate) fn string(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.lengths.push(self.bytes.len());
        let bytes = bytes.as_ref();
        self.uint32(u32::try_from(bytes.len()).expect("a short string")).raw(bytes)
    }

    /// Appends a positive number of any size, as RFC 4251 § 5 writes it.
    pub(crate) fn mpint(self, number: &[u8]) -> Self {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
        let number = &number[start..];
        let sign: &[u8] = if number.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        self.string([sign, number].concat())
    }

    /// Appends the fields of another.
    pub(crate) fn fields(mut self, other: &Self) -> Self {
        let start = self.bytes.len();
        self.lengths.extend(other.lengths.iter().map(|at| start + at));
        self.raw(&other.bytes)
    }

    /// Appends another as a string.
    pub(crate) fn nested(self, other: &Self) -> Self {
        let empty = self.string(b"");
        let length_at = empty.bytes.len() - 4;
        let mut whole = empty.fields(other);
        let length = u32::try_from(other.bytes.len()).expect("a short message");
        whole.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        whole
    }

    /// What is there so far is a message of its own.
    pub(crate) fn may_end(mut self) -> Self {
        self.whole.push(self.bytes.len());
        self
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its beginnings: cut at every byte, but where what is left is a message too.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = Vec<u8>> {
        let lengths = (1..self.bytes.len()).filter(|length| !self.whole.contains(length));
        lengths.map(|length| self.bytes[..length].to_vec())
    }

    /// With a length that goes beyond the end, for each length and by as much as a 32-bit number can say.
    pub(crate) fn lies(&self) -> impl Iterator<Item = Vec<u8>> {
        let lie = |at: usize| {
            let left = u32::try_from(self.bytes.len() - at - 4).expect("a short message");
            [left + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map(|length| {
                let mut bytes = self.bytes.clone();
                bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
                bytes
            })
        };
        self.lengths.iter().flat_map(move |at| lie(*at))
    }

    /// With one byte too many.
    pub(crate) fn with_one_more(&self) -> Vec<u8> {
        [&self.bytes[..], &[0]].concat()
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A message as it goes over the wire, behind its length.
pub(crate) fn framed(message: impl AsRef<[u8]>) -> Vec<u8> {
    Message::default().string(message).bytes
}
