//! File descriptors handed from process to process over a Unix socket.
//!
//! A descriptor that a process inherits must lack the close-on-exec flag at the moment of the
//! fork, and a multi-threaded worker forks at any moment: the descriptor would also leak into
//! whatever else is being started, and a leaked end of the control socket hides the death of the
//! worker. So only the three standard streams are inherited; the others travel as messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::FdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

const GO: &[u8] = b"G";

/// Sends the job's standard input and output.
pub(super) fn send(socket: BorrowedFd<'_>, streams: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&streams)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    #[cfg(target_os = "linux")]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = SendFlags::empty();
    sendmsg(socket, &[IoSlice::new(GO)], &mut control, flags)?;
    Ok(())
}

/// Waits for what [`send`] sends; nothing if the other side closed the socket instead.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<[OwnedFd; 2]>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut streams = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            streams.extend(rights);
        }
    }
    for stream in &streams {
        // Not at the receipt, because not every system can: this process has one thread, so that
        // nothing is forked in between.
        rustix::io::fcntl_setfd(stream, FdFlags::CLOEXEC)?;
    }
    streams.try_into().map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_in_order() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut out, one) = io::pipe().unwrap();
        let (two, mut into) = io::pipe().unwrap();
        send(left.as_fd(), [two.as_fd(), one.as_fd()]).unwrap();
        drop((one, two));
        let [input, output] = receive(right.as_fd()).unwrap().unwrap();
        into.write_all(b"in").unwrap();
        drop(into);
        let mut text = String::new();
        std::fs::File::from(input).read_to_string(&mut text).unwrap();
        assert_eq!(text, "in");
        std::fs::File::from(output).write_all(b"out").unwrap();
        text.clear();
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text, "out");
    }

    #[test]
    fn a_closed_socket_hands_over_nothing() {
        let (left, right) = UnixStream::pair().unwrap();
        drop(left);
        assert!(receive(right.as_fd()).unwrap().is_none());
    }
}
