//! The handshake (RTMP 1.0, section 5.2), plain or with digests. A few thousand bytes are taken, never more.

use rml_rtmp::handshake::{Handshake as Inner, HandshakeProcessResult, PeerType};

/// Version byte, C1 and C2; or S0, S1 and S2.
const SIZE: usize = 1 + 1536 + 1536;

pub(super) struct Handshake {
    inner: Box<Inner>,
    taken: usize,
}

/// What the peer sent is not the beginning of RTMP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("the connection begins with byte {0:#04x} where RTMP has 0x03: this port speaks unencrypted-handshake RTMP only")]
    Version(u8),
    #[error("the RTMP handshake failed: {0}")]
    Failed(String),
}

impl Handshake {
    pub fn server() -> Self {
        Self { inner: Box::new(Inner::new(PeerType::Server)), taken: 0 }
    }

    /// Gives the bytes to send first as well.
    pub fn client() -> Result<(Self, Vec<u8>), HandshakeError> {
        let mut inner = Box::new(Inner::new(PeerType::Client));
        let hello = inner.generate_outbound_p0_and_p1().map_err(|error| HandshakeError::Failed(error.to_string()))?;
        Ok((Self { inner, taken: 0 }, hello))
    }

    /// Takes bytes off `input`. Gives what to answer, and whether the handshake is done.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<(Vec<u8>, bool), HandshakeError> {
        if let Some(&version) = input.first()
            && self.taken == 0
            && version != 3
        {
            return Err(HandshakeError::Version(version));
        }
        let (now, rest) = input.split_at(input.len().min(SIZE - self.taken));
        *input = rest;
        self.taken += now.len();
        match self.inner.process_bytes(now) {
            Ok(HandshakeProcessResult::InProgress { response_bytes }) => Ok((response_bytes, false)),
            Ok(HandshakeProcessResult::Completed { response_bytes, .. }) => Ok((response_bytes, true)),
            Err(error) => Err(HandshakeError::Failed(error.to_string())),
        }
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("taken", &self.taken).finish_non_exhaustive()
    }
}
