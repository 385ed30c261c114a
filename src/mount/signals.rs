//! What the mount is told by signals.
use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT, the first time: end in good order.
    Stop,
    /// TERM or INT again: end without waiting for anything.
    StopNow,
    /// HUP: look at the account again.
    Refresh,
    /// USR1: write the state of things to the log.
    Report,
}

/// The signals sent to this process, from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    user: Stream,
    stopping: bool,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process. Needs a runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            stopping: false,
        })
    }

    /// Waits for the next one. May be dropped and called again without losing any.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => self.stop(),
            _ = self.interrupt.recv() => self.stop(),
            _ = self.hangup.recv() => Signal::Refresh,
            _ = self.user.recv() => Signal::Report,
        }
    }

    fn stop(&mut self) -> Signal {
        if std::mem::replace(&mut self.stopping, true) {
            Signal::StopNow
        } else {
            Signal::Stop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal as Number, raise};

    #[tokio::test]
    async fn each_signal_means_its_own_and_a_second_stop_is_urgent() {
        let mut signals = Signals::new().unwrap();
        for (number, meaning) in [
            (Number::SIGHUP, Signal::Refresh),
            (Number::SIGUSR1, Signal::Report),
            (Number::SIGTERM, Signal::Stop),
            (Number::SIGINT, Signal::StopNow),
        ] {
            raise(number).unwrap();
            assert_eq!(signals.next().await, meaning);
        }
    }
}
