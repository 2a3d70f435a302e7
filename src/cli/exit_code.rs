//! The program's exit statuses. A released number keeps its meaning.

/// What a run of the program came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// What was asked for is done.
    Done,
    /// It is not done.
    NotDone,
    /// The command line or the configuration is wrong; nothing was tried.
    Usage,
    /// A check said no: something is pending, divergent, missing or has drifted.
    CheckFailed,
    /// Some schemas are done and some are not.
    Partly,
    /// The database is out of reach.
    Unreachable,
    /// Somebody was using it; worth trying again.
    Busy,
    /// A person or the system asked to stop.
    Interrupted,
    /// The status of a program that was run on somebody's behalf.
    Child(u8),
}

impl ExitCode {
    /// Returns the number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotDone => 1,
            Self::Usage => 2,
            Self::CheckFailed => 3,
            Self::Partly => 4,
            Self::Unreachable => 5,
            Self::Busy => 6,
            Self::Interrupted => 130,
            Self::Child(status) => status,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}
