//! What the kernel throws away of a socket because nobody has read in time: its own count, which it shows in a table of all sockets.
//!
//! Such a datagram reaches nobody who could count it. On other systems than Linux there is no such table, and nothing is known.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd, AsRawFd as _};

/// Most of a table that is read: as many sockets as there are ports.
const TABLE_BYTES: u64 = 16 << 20;
/// Where a line has the socket's number, and where what was dropped.
const INODE: usize = 9;
const DROPS: usize = 12;

/// A socket as the tables call it.
#[derive(Debug)]
pub(super) struct Socket {
    table: &'static str,
    inode: String,
}

impl Socket {
    /// Of IPv6 or not; `None` where the system does not say what it is called.
    pub(super) fn of(socket: impl AsFd, v6: bool) -> Option<Self> {
        let number = socket.as_fd().as_raw_fd();
        let link = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        let table = if v6 {
            "/proc/self/net/udp6"
        } else {
            "/proc/self/net/udp"
        };
        Some(Self {
            table,
            inode: inode.to_owned(),
        })
    }

    /// How many of its datagrams have been dropped since it was made. Reads a file of a line for each socket of the machine.
    pub(super) fn dropped(&self) -> Option<u64> {
        let table = File::open(self.table).ok()?.take(TABLE_BYTES);
        let mut lines = BufReader::new(table).lines().map_while(Result::ok);
        lines.find_map(|line| {
            let mut fields = line.split_whitespace().skip(INODE);
            let own = fields.next()? == self.inode;
            let dropped = fields.nth(DROPS - INODE - 1)?;
            own.then(|| dropped.parse().ok())?
        })
    }
}
