//! Pictures into packets, by the library's payloaders.

use bytes::Bytes;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::packetizer::Payloader as _;

use crate::codec::VideoCodec;
use crate::error::SignalingError;

/// Bytes of payload that fit a datagram of 1,200 bytes with header and authentication tag.
const MAX_PAYLOAD: usize = 1160;

enum Payloader {
    Vp8(Vp8Payloader),
    H264(H264Payloader),
}

/// Cuts encoded pictures of one stream into RTP payloads.
pub struct VideoPacketizer {
    payloader: Payloader,
}

impl VideoPacketizer {
    /// A packetizer for `codec`.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        let payloader = match codec {
            VideoCodec::Vp8 => {
                let mut vp8 = Vp8Payloader::default();
                vp8.enable_picture_id = true;
                Payloader::Vp8(vp8)
            }
            VideoCodec::H264 => Payloader::H264(H264Payloader::default()),
        };
        Self { payloader }
    }

    /// The payloads of one picture (VP8 frame, or H.264 access unit in Annex B), in order. The marker
    /// bit belongs on the last; all have the picture's timestamp.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Malformed`] if the picture is empty or has nothing to send.
    pub fn packetize(&mut self, picture: &Bytes) -> Result<Vec<Bytes>, SignalingError> {
        let payloads = match &mut self.payloader {
            Payloader::Vp8(vp8) => vp8.payload(MAX_PAYLOAD, picture),
            Payloader::H264(h264) => h264.payload(MAX_PAYLOAD, picture),
        };
        let payloads = payloads.map_err(|e| SignalingError::malformed("picture", e.to_string()))?;
        if payloads.is_empty() {
            return Err(SignalingError::malformed(
                "picture",
                "it has nothing to send",
            ));
        }
        Ok(payloads)
    }
}

impl std::fmt::Debug for VideoPacketizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.payloader {
            Payloader::Vp8(_) => "VideoPacketizer(VP8)",
            Payloader::H264(_) => "VideoPacketizer(H264)",
        })
    }
}
