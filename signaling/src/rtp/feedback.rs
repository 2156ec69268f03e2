//! RTCP: reports out and in, requests for packets and key frames (RFC 3550 §6, RFC 4585, RFC 5104).
//!
//! Built and read with the library; what cannot be read or is of no use here is skipped. Absent:
//! transport-wide congestion control, extended reports.

use bytes::{Bytes, BytesMut};
use rtc::rtcp::packet::{Packet, marshal, unmarshal};
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};

/// Packets that one compound may hold: a report, a description and feedback are three.
const MAX_PACKETS: usize = 16;
/// Sequence numbers taken from one request for packets.
const MAX_NACKS: usize = 256;
/// Blocks that fit one report (RFC 3550 §6.4.1).
const MAX_BLOCKS: usize = 31;

/// A reception report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    /// In 256ths.
    pub(crate) fraction_lost: u8,
    pub(crate) lost: u32,
    pub(crate) highest: u32,
    /// In units of the media clock.
    pub(crate) jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time, 0 if none.
    pub(crate) last_report: u32,
    /// Since that report, in 65,536ths of a second.
    pub(crate) delay: u32,
}

/// The sender's part of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) ssrc: u32,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

/// What goes into a compound report.
pub(crate) struct Report<'a> {
    /// NTP time, 32.32 fixed point.
    pub(crate) ntp: u64,
    pub(crate) sent: &'a [Sent],
    pub(crate) blocks: &'a [Block],
    /// Bits per second that the streams may have together.
    pub(crate) bandwidth: Option<(f32, &'a [u32])>,
}

/// What the peer told by RTCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// The peer sends `ssrc`; `ntp_middle` is to be sent back in our reports.
    SenderReport { ssrc: u32, ntp_middle: u32 },
    /// What the peer received of ours.
    Reception(Block),
    /// Packets of ours to be sent again.
    Nack { ssrc: u32, sequences: Vec<u16> },
    /// A key frame of ours is needed (PLI or FIR).
    KeyFrame { ssrc: u32 },
}

/// Reads a decrypted compound packet.
pub(crate) fn parse(compound: &[u8]) -> Vec<Feedback> {
    let mut feedback = Vec::new();
    let mut rest = compound;
    for _ in 0..MAX_PACKETS {
        let Some(header) = rest.first_chunk::<4>() else {
            break;
        };
        let length = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some((packet, after)) = rest.split_at_checked(length) else {
            break;
        };
        rest = after;
        let mut packet = Bytes::copy_from_slice(packet);
        if let Ok(packets) = unmarshal(&mut packet) {
            for packet in packets {
                understand(packet.as_ref(), &mut feedback);
            }
        }
    }
    feedback
}

fn understand(packet: &dyn Packet, feedback: &mut Vec<Feedback>) {
    let packet = packet.as_any();
    if let Some(report) = packet.downcast_ref::<SenderReport>() {
        let ntp_middle = u32::try_from((report.ntp_time >> 16) & 0xFFFF_FFFF).unwrap_or(0);
        feedback.push(Feedback::SenderReport {
            ssrc: report.ssrc,
            ntp_middle,
        });
        feedback.extend(
            report
                .reports
                .iter()
                .map(|block| Feedback::Reception(read_block(block))),
        );
    } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
        feedback.extend(
            report
                .reports
                .iter()
                .map(|block| Feedback::Reception(read_block(block))),
        );
    } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
        let sequences = nack
            .nacks
            .iter()
            .flat_map(|pair| pair.packet_list())
            .take(MAX_NACKS)
            .collect();
        feedback.push(Feedback::Nack {
            ssrc: nack.media_ssrc,
            sequences,
        });
    } else if let Some(request) = packet.downcast_ref::<PictureLossIndication>() {
        feedback.push(Feedback::KeyFrame {
            ssrc: request.media_ssrc,
        });
    } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
        feedback.extend(
            request
                .fir
                .iter()
                .map(|entry| Feedback::KeyFrame { ssrc: entry.ssrc }),
        );
    }
}

fn read_block(block: &ReceptionReport) -> Block {
    Block {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        lost: block.total_lost,
        highest: block.last_sequence_number,
        jitter: block.jitter,
        last_report: block.last_sender_report,
        delay: block.delay,
    }
}

fn write_block(block: &Block) -> ReceptionReport {
    ReceptionReport {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        total_lost: block.lost,
        last_sequence_number: block.highest,
        jitter: block.jitter,
        last_sender_report: block.last_report,
        delay: block.delay,
    }
}

/// Who speaks, for every compound packet of ours.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'a> {
    /// Our SSRC where we send nothing.
    pub(crate) ssrc: u32,
    pub(crate) cname: &'a str,
}

/// A compound report: one sender report per stream that we send (the blocks in the first) or a
/// receiver report, then the canonical name, then what bandwidth we are ready to receive (REMB).
pub(crate) fn report(speaker: Speaker<'_>, report: &Report<'_>) -> Option<BytesMut> {
    let mut blocks: Vec<ReceptionReport> = report
        .blocks
        .iter()
        .take(MAX_BLOCKS)
        .map(write_block)
        .collect();
    let mut packets: Vec<Box<dyn Packet>> = Vec::with_capacity(report.sent.len() + 3);
    for sent in report.sent {
        packets.push(Box::new(SenderReport {
            ssrc: sent.ssrc,
            ntp_time: report.ntp,
            rtp_time: sent.timestamp,
            packet_count: sent.packets,
            octet_count: sent.bytes,
            reports: std::mem::take(&mut blocks),
            profile_extensions: Bytes::new(),
        }));
    }
    let source = report.sent.first().map_or(speaker.ssrc, |sent| sent.ssrc);
    if packets.is_empty() {
        packets.push(receiver_report(speaker, blocks));
    }
    packets.push(description(source, speaker.cname));
    if let Some((bitrate, ssrcs)) = report.bandwidth {
        packets.push(Box::new(ReceiverEstimatedMaximumBitrate {
            sender_ssrc: speaker.ssrc,
            bitrate,
            ssrcs: ssrcs.to_vec(),
        }));
    }
    marshal(&packets).ok()
}

/// Asks for packets of `media` again (RFC 4585 §6.2.1).
pub(crate) fn nack(speaker: Speaker<'_>, media: u32, sequences: &[u16]) -> Option<BytesMut> {
    feedback(
        speaker,
        TransportLayerNack {
            sender_ssrc: speaker.ssrc,
            media_ssrc: media,
            nacks: nack_pairs_from_sequence_numbers(sequences),
        },
    )
}

/// Asks for a key frame of `media` (PLI, RFC 4585 §6.3.1).
pub(crate) fn key_frame_request(speaker: Speaker<'_>, media: u32) -> Option<BytesMut> {
    feedback(
        speaker,
        PictureLossIndication {
            sender_ssrc: speaker.ssrc,
            media_ssrc: media,
        },
    )
}

/// Asks for a key frame of `media` (FIR, RFC 5104 §4.3.1); `number` differs from the request before.
pub(crate) fn key_frame_command(speaker: Speaker<'_>, media: u32, number: u8) -> Option<BytesMut> {
    let entry = FirEntry {
        ssrc: media,
        sequence_number: number,
    };
    let command = FullIntraRequest {
        sender_ssrc: speaker.ssrc,
        media_ssrc: 0,
        fir: vec![entry],
    };
    feedback(speaker, command)
}

/// Feedback in a full compound, which every peer takes (RFC 4585 §3.1); it is rare enough.
fn feedback(speaker: Speaker<'_>, packet: impl Packet + 'static) -> Option<BytesMut> {
    marshal(&[
        receiver_report(speaker, Vec::new()),
        description(speaker.ssrc, speaker.cname),
        Box::new(packet),
    ])
    .ok()
}

fn receiver_report(speaker: Speaker<'_>, reports: Vec<ReceptionReport>) -> Box<dyn Packet> {
    Box::new(ReceiverReport {
        ssrc: speaker.ssrc,
        reports,
        profile_extensions: Bytes::new(),
    })
}

fn description(source: u32, cname: &str) -> Box<dyn Packet> {
    let text = Bytes::copy_from_slice(cname.as_bytes());
    let name = SourceDescriptionItem {
        sdes_type: SdesType::SdesCname,
        text,
    };
    Box::new(SourceDescription {
        chunks: vec![SourceDescriptionChunk {
            source,
            items: vec![name],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: Block = Block {
        ssrc: 9,
        fraction_lost: 3,
        lost: 4,
        highest: 5,
        jitter: 6,
        last_report: 7,
        delay: 8,
    };

    const US: Speaker<'_> = Speaker {
        ssrc: 77,
        cname: "us",
    };

    #[test]
    fn a_report_of_a_sender_reads_back() {
        let sent = Sent {
            ssrc: 1,
            timestamp: 2,
            packets: 3,
            bytes: 4,
        };
        let compound = report(
            US,
            &Report {
                ntp: 0x0001_0002_0003_0004,
                sent: &[sent],
                blocks: &[BLOCK],
                bandwidth: None,
            },
        )
        .unwrap();
        assert_eq!(
            parse(&compound),
            [
                Feedback::SenderReport {
                    ssrc: 1,
                    ntp_middle: 0x0002_0003
                },
                Feedback::Reception(BLOCK)
            ]
        );
    }

    #[test]
    fn a_report_without_sending_is_a_receiver_report() {
        let compound = report(
            US,
            &Report {
                ntp: 0,
                sent: &[],
                blocks: &[BLOCK],
                bandwidth: Some((2e6, &[9])),
            },
        )
        .unwrap();
        assert_eq!(compound[1], 201);
        assert_eq!(parse(&compound), [Feedback::Reception(BLOCK)]);
    }

    #[test]
    fn requests_for_packets_and_key_frames_read_back() {
        assert_eq!(
            parse(&nack(US, 2, &[10, 11, 300]).unwrap()),
            [Feedback::Nack {
                ssrc: 2,
                sequences: vec![10, 11, 300]
            }]
        );
        assert_eq!(
            parse(&key_frame_request(US, 2).unwrap()),
            [Feedback::KeyFrame { ssrc: 2 }]
        );
    }

    #[test]
    fn an_unreadable_packet_does_not_take_its_neighbours_with_it() {
        let mut compound = vec![0x81, 205, 0, 1, 0, 0, 0, 1];
        compound.extend_from_slice(&key_frame_request(US, 2).unwrap());
        assert_eq!(parse(&compound), [Feedback::KeyFrame { ssrc: 2 }]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            kind in 190u8..=224,
            count in 0u8..=31,
            body in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let words = u16::try_from(body.len() / 4).unwrap_or(0).to_be_bytes();
            let mut packet = vec![0x80 | count, kind, words[0], words[1]];
            packet.extend(&body[..body.len() / 4 * 4]);
            let _ = parse(&packet);
            let _ = parse(&body);
        }
    }
}
