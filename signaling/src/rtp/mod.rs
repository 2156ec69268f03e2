//! RTP and RTCP of one peer (RFC 3550): headers, receive and send state of streams, reports, and
//! repair of video by retransmission (RFC 4585).
//!
//! Nothing here encrypts or knows addresses. Absent: jitter buffers (they belong to the media),
//! congestion control, and retransmission streams (RTX): a lost packet is sent again as it was.

mod feedback;
mod header;
mod receive;
mod send;

pub(crate) use feedback::{
    Feedback, Report, Speaker, key_frame_command, key_frame_request, nack, parse as parse_feedback,
    report,
};
pub(crate) use header::{RtpHeader, is_rtcp};
pub(crate) use receive::ReceiveStream;
pub(crate) use send::SendStream;
