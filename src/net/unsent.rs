//! What the kernel keeps of a connection whose other end does not read. The one rule: no more than keeps the wire busy.

use std::os::fd::AsFd;

use socket2::SockRef;

/// Most bytes of one connection that are written and cannot be sent yet (`TCP_NOTSENT_LOWAT`). By itself the kernel takes 4 MiB
/// (`net.ipv4.tcp_wmem`): a few hundred callers who do not read have it run short of memory for TCP, and then every
/// connection of the machine stands still. What is under way, and so the speed, is not bounded by it.
const MOST: u32 = 128 << 10;

/// Bounds it for this socket and for all that it will accept. One that cannot be bounded works as well.
pub fn bound(socket: &impl AsFd) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(MOST);
}
