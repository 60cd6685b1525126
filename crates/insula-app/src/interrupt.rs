//! Ctrl-C and its kin: the first asks to stop, the second does not ask.

use std::io::stderr;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Kind, Stop};

/// Hears when somebody wants this process to stop.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    heard: bool,
    echo: QuietEcho,
}

impl Interrupt {
    /// Listens from now on; the signals do not end the process any more.
    ///
    /// # Errors
    /// When the operating system does not let it.
    pub(crate) fn listen() -> Result<Self, Stop> {
        let on = |kind| signal(kind).map_err(|error| Stop::failed("signals cannot be heard").because(error));
        let (interrupt, terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, heard: false, echo: QuietEcho::new() })
    }

    /// Waits for somebody to ask. Asked a second time, the process ends at once. Cancellation safe.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        if self.heard {
            self.echo.restore();
            std::process::exit(Kind::Interrupted as i32);
        }
        self.heard = true;
    }
}

/// While it lives, the terminal does not write `^C` where the live view has its cursor.
struct QuietEcho(Option<Termios>);

impl QuietEcho {
    fn new() -> Self {
        let before = tcgetattr(stderr()).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHOCTL);
            // A terminal that does not obey shows two characters more.
            let _ = tcsetattr(stderr(), OptionalActions::Now, &quiet);
        }
        Self(before)
    }

    fn restore(&mut self) {
        if let Some(before) = self.0.take() {
            let _ = tcsetattr(stderr(), OptionalActions::Now, &before);
        }
    }
}

impl Drop for QuietEcho {
    fn drop(&mut self) {
        self.restore();
    }
}
