//! Listening to a socket for a while.

use std::io::{self, ErrorKind};

/// What such a call receives, or nothing if the socket's time limit ends before something arrives.
///
/// A signal is no reason to stop listening: Linux interrupts a wait with a time limit even if no handler
/// runs, when a frozen process continues (signal(7)).
///
/// # Errors
/// The system's own.
pub fn hear<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match receive() {
            Ok(received) => return Ok(Some(received)),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(None),
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    #[test]
    fn a_signal_does_not_end_it() {
        let mut calls = vec![Ok(7), Err(ErrorKind::Interrupted.into()), Err(ErrorKind::Interrupted.into())];
        assert_eq!(hear(|| calls.pop().unwrap()).unwrap(), Some(7));
    }

    #[test]
    fn silence_is_no_error_and_errors_are() {
        let (here, there) = UnixDatagram::pair().unwrap();
        here.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(hear(|| here.recv(&mut [0; 8])).unwrap(), None);
        there.send(b"said").unwrap();
        assert_eq!(hear(|| here.recv(&mut [0; 8])).unwrap(), Some(4));
        let refused = hear(|| io::Result::<()>::Err(ErrorKind::ConnectionRefused.into())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}
