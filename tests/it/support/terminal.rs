//! The program in a real terminal, for prompts and Ctrl-C.

use std::process::{Command, Stdio};
use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect, Session};

/// A terminal in which the program runs; whatever waits too long fails the test.
pub(crate) struct Terminal {
    session: OsSession,
    seen: String,
}

impl Terminal {
    pub(crate) fn open(mut command: Command) -> Terminal {
        command.env("TERM", "xterm").stdin(Stdio::inherit());
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(Duration::from_secs(30)));
        Terminal { session, seen: String::new() }
    }

    /// Waits until the program has shown a text.
    pub(crate) fn sees(&mut self, text: &str) -> &mut Terminal {
        match self.session.expect(text) {
            Ok(found) => self.seen += &String::from_utf8_lossy(found.as_bytes()),
            Err(error) => panic!("`{text}` was not shown after {:?}: {error}", self.seen),
        }
        self
    }

    /// Waits for a question and answers it.
    pub(crate) fn answers(&mut self, question: &str, answer: &str) -> &mut Terminal {
        self.sees(question);
        self.session.send_line(answer).unwrap();
        self
    }

    /// Presses keys, such as `"\x03"` for Ctrl-C.
    pub(crate) fn presses(&mut self, keys: &str) -> &mut Terminal {
        self.session.send(keys).unwrap();
        self
    }

    /// Waits for the end; returns all that was shown, and the exit status.
    pub(crate) fn ends(&mut self) -> (String, i32) {
        let rest = self.session.expect(Eof).unwrap();
        self.seen += &String::from_utf8_lossy(rest.as_bytes());
        match self.session.get_process().wait().unwrap() {
            WaitStatus::Exited(_, status) => (std::mem::take(&mut self.seen), status),
            other => panic!("it was ended by {other:?}"),
        }
    }
}

#[test]
fn a_terminal_shows_and_takes_text() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf 'name? '; read name; test -t 0 && echo hello $name; exit 3"]);
    let (seen, status) = Terminal::open(shell).answers("name? ", "acme").ends();
    assert!(seen.contains("hello acme"), "{seen}");
    assert_eq!(status, 3);
}

#[test]
fn ctrl_c_in_a_terminal_is_an_interrupt() {
    // Who started the tests may ignore it, and a shell cannot trap what it finds ignored.
    let mut shell = Command::new("env");
    shell.args(["--default-signal=INT", "sh", "-c"]);
    shell.arg("trap 'exit 130' INT; echo ready; while :; do sleep 0.1; done");
    let (_, status) = Terminal::open(shell).sees("ready").presses("\x03").ends();
    assert_eq!(status, 130);
}
