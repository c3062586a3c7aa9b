use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::random;

// Below the range that systems give to outgoing connections: while a server is down, a connection
// that happens to come from its port would keep it from coming back, or even meet itself there.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;
// where a node of a Redis Cluster has its bus
const BUS: u16 = 10_000;

/// A loopback port that is ours as long as this lives, whether or not something listens on it.
///
/// The claim is the UDP port of the same number: the kernel gives it to one process only, and
/// takes it back however that process ends.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port on which, and on whose bus port, nothing listens. Something that knows nothing
    /// of claims can still take it before the server does, which the server then says.
    pub(crate) fn claim() -> Self {
        for _ in 0..1_000 {
            let number = FIRST + u16::from_le_bytes(random::bytes()) % COUNT;
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if free(number) && free(number + BUS) {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free loopback port from {FIRST} on");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_port_can_be_listened_on_and_not_be_claimed_again() {
        let port = Port::claim();
        assert!(UdpSocket::bind(port.address()).is_err());
        TcpListener::bind(port.address()).unwrap();
    }
}
