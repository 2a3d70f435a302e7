//! The program while it runs: to be signalled, killed, or waited for.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// How long the program may take to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that was started. What it says is read all the time.
pub(crate) struct Program {
    pid: Pid,
    output: Receiver<Output>,
}

impl Program {
    pub(super) fn start(mut command: Command) -> Program {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (sender, output) = channel();
        thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
        Program { pid, output }
    }

    /// Sends a signal, such as that of Ctrl-C.
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill_process(self.pid, signal);
    }

    /// Sends a signal, and waits until the program has taken it and sleeps again.
    pub(crate) async fn heeds(&self, signal: Signal) {
        self.signal(signal);
        let status = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        eventually("the signal is taken", async || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let is = |what: &str| status.lines().any(|line| line.starts_with(what));
            is("State:\tS") && is("ShdPnd:\t0000000000000000")
        })
        .await;
    }

    /// Ends the program as `kill -9` does; returns whether it had not ended by itself.
    pub(crate) fn kill(self) -> bool {
        self.signal(Signal::KILL);
        self.ends().status.signal() == Some(9)
    }

    /// Waits for the end.
    pub(crate) fn ends(self) -> Output {
        let output = self.output.recv_timeout(PATIENCE);
        output.unwrap_or_else(|_| {
            self.signal(Signal::KILL);
            panic!("the program did not end")
        })
    }
}
