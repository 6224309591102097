//! A packet trace that Wireshark and tcpdump open: what left every node, with addresses, ports and sequence numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use sim_core::{EPOCH_SECONDS, device};

use crate::kernel::{Kernel, act};
use crate::tcp::End;

/// What a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags {
    syn: bool,
    ack: bool,
    fin: bool,
    reset: bool,
}

impl Flags {
    const NONE: Flags = Flags { syn: false, ack: false, fin: false, reset: false };
    pub(crate) const SYN: Flags = Flags { syn: true, ..Flags::NONE };
    pub(crate) const SYN_ACK: Flags = Flags { ack: true, ..Flags::SYN };
    pub(crate) const ACK: Flags = Flags { ack: true, ..Flags::NONE };
    pub(crate) const DATA: Flags = Flags::ACK;
    pub(crate) const FIN: Flags = Flags { ack: true, fin: true, ..Flags::NONE };
    pub(crate) const RESET: Flags = Flags { reset: true, ..Flags::NONE };
    pub(crate) const REFUSAL: Flags = Flags { ack: true, ..Flags::RESET };
}

enum Payload {
    Segment { flags: Flags, sequence: u32, acknowledged: u32 },
    Datagram,
}

struct Captured {
    at: u64,
    from: SocketAddr,
    to: SocketAddr,
    payload: Payload,
    bytes: Vec<u8>,
}

/// What was captured so far.
#[derive(Default)]
pub(crate) struct Capture {
    packets: Vec<Captured>,
    /// What each end of a connection, by its serial, has sent.
    sequences: BTreeMap<(u64, usize), u32>,
}

/// A running trace of packets.
#[derive(Clone, Copy, Debug)]
pub struct Trace(());

/// Keeps every packet from now on, as it leaves; what is lost later is in the trace too.
///
/// ```
/// # let report = sim_core::Sim::new(1).run(|| async {
/// let trace = sim_net::capture();
/// let socket = sim_net::UdpSocket::bind("127.0.0.1:9").await?;
/// socket.send_to(b"seen", "127.0.0.1:9").await?;
/// let file = trace.to_pcapng()?;                  // std::fs::write("run.pcapng", file), and open it with Wireshark
/// assert!(file.windows(4).any(|bytes| bytes == b"seen"));
/// # Ok::<(), std::io::Error>(())
/// # });
/// # assert!(report.passed(), "{}", report.message);
/// ```
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn capture() -> Trace {
    act("net::capture", |kernel| {
        kernel.capture.get_or_insert_default();
    });
    Trace(())
}

impl Trace {
    /// The trace as a file in the pcapng format. Times are the true ones.
    ///
    /// # Errors
    /// When a packet cannot be written.
    pub fn to_pcapng(self) -> io::Result<Vec<u8>> {
        act("net::Trace", |kernel| kernel.capture.as_ref().map_or_else(|| Ok(Vec::new()), Capture::to_pcapng))
    }
}

impl Kernel {
    /// Keeps a segment that leaves.
    pub(crate) fn capture(&mut self, end: End, flags: Flags, bytes: &[u8]) {
        if self.capture.is_none() || self.is_local(end) {
            return;
        }
        let (from, to) = self.addresses(end);
        let serial = self.handle(end).serial();
        let Some(capture) = &mut self.capture else { return };
        // What fits one IP packet.
        let parts = bytes.chunks(16_384).chain(bytes.is_empty().then_some(bytes));
        for (at, part) in (device::now()..).zip(parts) {
            let acknowledged = capture.sequences.get(&(serial, 1 - end.side)).copied().unwrap_or(1);
            let sequence = capture.sequences.entry((serial, end.side)).or_insert(1);
            // Both answers to a SYN begin the stream of their end.
            *sequence = if flags.syn || flags == Flags::REFUSAL { 0 } else { *sequence };
            let payload = Payload::Segment { flags, sequence: *sequence, acknowledged };
            *sequence = sequence.wrapping_add(part.len() as u32 + u32::from(flags.syn || flags.fin));
            capture.packets.push(Captured { at, from, to, payload, bytes: part.to_vec() });
        }
    }

    pub(crate) fn capture_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if let Some(capture) = &mut self.capture {
            let payload = Payload::Datagram;
            capture.packets.push(Captured { at: device::now(), from, to, payload, bytes: bytes.to_vec() });
        }
    }
}

impl Capture {
    fn to_pcapng(&self) -> io::Result<Vec<u8>> {
        let failed = |error: pcap_file::PcapError| io::Error::other(error.to_string());
        let mut writer = PcapNgWriter::new(Vec::new()).map_err(failed)?;
        let mut interface = InterfaceDescriptionBlock::new(DataLink::RAW, 0);
        interface.options.push(InterfaceDescriptionOption::IfTsResol(9));
        writer.write_pcapng_block(interface).map_err(failed)?;
        for packet in &self.packets {
            let data = packet.to_ip()?;
            let block = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: Duration::from_secs(EPOCH_SECONDS) + Duration::from_nanos(packet.at),
                original_len: data.len() as u32,
                data: Cow::Owned(data),
                options: Vec::new(),
            };
            writer.write_pcapng_block(block).map_err(failed)?;
        }
        Ok(writer.into_inner())
    }
}

impl Captured {
    /// The packet as it is on an IP network, with checksums.
    fn to_ip(&self) -> io::Result<Vec<u8>> {
        let (source, destination) = (self.from.port(), self.to.port());
        let mut packet = Vec::new();
        let ip = self.ip_header()?;
        let written = match &self.payload {
            Payload::Datagram => PacketBuilder::ip(ip).udp(source, destination).write(&mut packet, &self.bytes),
            Payload::Segment { flags, sequence, acknowledged } => {
                let mut header = TcpHeader::new(source, destination, *sequence, u16::MAX);
                (header.syn, header.ack, header.fin, header.rst) = (flags.syn, flags.ack, flags.fin, flags.reset);
                header.psh = !self.bytes.is_empty();
                header.acknowledgment_number = if flags.ack { *acknowledged } else { 0 };
                PacketBuilder::ip(ip).tcp_header(header).write(&mut packet, &self.bytes)
            }
        };
        written.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(packet)
    }

    fn ip_header(&self) -> io::Result<etherparse::IpHeaders> {
        let number = if matches!(self.payload, Payload::Datagram) { IpNumber::UDP } else { IpNumber::TCP };
        match (self.from.ip().to_canonical(), self.to.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let header = Ipv4Header::new(0, 64, number, from.octets(), to.octets());
                let header = header.map_err(|error| io::Error::other(error.to_string()))?;
                Ok(etherparse::IpHeaders::Ipv4(header, Default::default()))
            }
            (from, to) => {
                let octets = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                let header = Ipv6Header {
                    flow_label: Ipv6FlowLabel::ZERO,
                    next_header: number,
                    hop_limit: 64,
                    source: octets(from),
                    destination: octets(to),
                    ..Ipv6Header::default()
                };
                Ok(etherparse::IpHeaders::Ipv6(header, Default::default()))
            }
        }
    }
}
