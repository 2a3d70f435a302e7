//! One statement of a script, and the message in which it is sent.

/// Where a statement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `BEGIN` and the transaction's settings.
    Begin,
    /// The guard.
    Guard,
    /// Making the schema.
    CreateSchema,
    /// Making the history table.
    HistoryTable,
    /// The `statement`th statement of the `file`th file in the folder, both from 0.
    File {
        /// Index of the file in its folder.
        file: usize,
        /// Index of the statement in its file.
        statement: usize,
    },
    /// The same of the `file`th seed, in a schema that is being created.
    Seed {
        /// Index of the seed.
        file: usize,
        /// Index of the statement in its file.
        statement: usize,
    },
    /// What a template is made of.
    Template,
    /// What the audit needs to know from before.
    Note,
    /// The audit.
    Audit,
    /// The history rows.
    Record,
    /// The `index`th of the registry rows of a schema that is being created.
    Register(usize),
    /// `COMMIT` or `ROLLBACK`.
    End,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The statement, without a semicolon.
    pub sql: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it must travel in a message of its own.
    pub alone: bool,
}

/// One message: statements that are sent together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What is sent.
    pub text: String,
    /// For each statement in it: the byte at which it begins, and its index in the script.
    pub steps: Vec<(usize, usize)>,
}

impl Message {
    pub(super) fn push(&mut self, index: usize, sql: &str) {
        self.steps.push((self.text.len(), index));
        self.text.push_str(sql);
        // On a line of its own: a statement may end in a `--` comment.
        self.text.push_str("\n;\n");
    }

    /// Returns the index in the script of the statement that holds byte `offset`, and the byte
    /// within that statement.
    pub fn step_at(&self, offset: usize) -> Option<(usize, usize)> {
        let (start, index) = self.steps.iter().rev().find(|(start, _)| *start <= offset)?;
        Some((*index, offset - start))
    }
}
