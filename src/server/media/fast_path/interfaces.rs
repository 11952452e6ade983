//! By which interfaces packets come and go, as the kernel says (rtnetlink).

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use super::Exit;

/// A message's header, and the `rtmsg` behind it.
const HEADERS: usize = 16 + 12;
/// With the two addresses behind them.
const REQUEST: usize = HEADERS + 8 + 8;

/// The interfaces that are up and have an address of IPv4.
pub fn with_ipv4() -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` takes the list, which is read only until it is freed; its names end in zero.
    unsafe {
        if libc::getifaddrs(&raw mut first) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut next = first;
        while let Some(entry) = next.as_ref() {
            let is_ipv4 = entry.ifa_addr.as_ref().is_some_and(|a| i32::from(a.sa_family) == libc::AF_INET);
            if is_ipv4 && entry.ifa_flags & libc::IFF_UP as u32 != 0 {
                names.insert(CStr::from_ptr(entry.ifa_name).to_string_lossy().into_owned());
            }
            next = entry.ifa_next;
        }
        libc::freeifaddrs(first);
    }
    Ok(names)
}

/// How a packet that came from `from` to our address leaves for `to`; `None` between this host and
/// another, where the kernel would take a rewritten packet for a forged one.
pub fn exit(from: Ipv4Addr, ours: Ipv4Addr, to: Ipv4Addr) -> io::Result<Option<Exit>> {
    let ((_, is_from_here), (interface, is_loopback)) = (route(ours, from)?, route(ours, to)?);
    Ok((is_from_here == is_loopback).then_some(Exit { interface, is_loopback }))
}

/// The interface from our address towards another, and whether that one is this host's own too.
fn route(ours: Ipv4Addr, to: Ipv4Addr) -> io::Result<(u32, bool)> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, None)?;
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(libc::RTM_GETROUTE.to_ne_bytes());
    request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_INET as u8, 32, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (kind, address) in [(libc::RTA_DST, to), (libc::RTA_SRC, ours)] {
        request.extend(8u16.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(address.octets());
    }
    let mut answer = [0; 1_024];
    // SAFETY: both buffers are as long as said and outlive the calls.
    let length = unsafe {
        let to_kernel = libc::MSG_NOSIGNAL;
        if libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), to_kernel) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    read_route(&answer[..length]).ok_or_else(|| io::ErrorKind::HostUnreachable.into())
}

fn read_route(answer: &[u8]) -> Option<(u32, bool)> {
    let half = |at: usize| Some(u16::from_ne_bytes(*answer.get(at..)?.first_chunk()?));
    if half(4)? != libc::RTM_NEWROUTE {
        return None;
    }
    let is_local = *answer.get(16 + 7)? == libc::RTN_LOCAL;
    let mut at = HEADERS;
    while let (Some(length), Some(kind)) = (half(at), half(at + 2)) {
        if kind == libc::RTA_OIF {
            return Some((u32::from_ne_bytes(*answer.get(at + 4..)?.first_chunk()?), is_local));
        }
        at += usize::from(length.max(4)).next_multiple_of(4);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_an_address_and_leads_to_itself() {
        assert!(with_ipv4().unwrap().contains("lo"));
        let here = Ipv4Addr::LOCALHOST;
        assert_eq!(exit(here, here, here).unwrap(), Some(Exit { interface: 1, is_loopback: true }));
    }
}
