//! One migration file: its version, its name, its SQL, and refinery's checksums of them.

use std::{fmt, path::PathBuf};

use super::{
    FileProblem, Kind, Width,
    checksum::checksum,
    file_name::{FileName, NameProblem},
};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A migration as it lies in its folder.
#[derive(Debug, Clone)]
pub struct MigrationFile {
    /// Where it lies, as seen from where the folder's path was given.
    pub path: PathBuf,
    pub kind: Kind,
    pub version: i64,
    pub name: String,
    /// With LF line ends and without a byte order mark: what the checksums are over.
    pub sql: String,
    pub checksum_wide: u64,
    /// None when the version exceeds `int4`.
    pub checksum_narrow: Option<u64>,
    /// Checksums over other spellings of the same SQL: CRLF, a byte order mark, the bytes as they
    /// are.
    respelled: Vec<(u64, Option<u64>)>,
}

impl MigrationFile {
    /// Reads a migration from its file's name and content.
    pub fn from_bytes(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Self, FileProblem> {
        let path = path.into();
        let name = FileName::parse(&path.file_name().unwrap_or_default().to_string_lossy());
        match name.and_then(|name| name.ok_or(NameProblem::Misnamed { suggestion: None })) {
            Ok(name) => Self::new(path, name, bytes),
            Err(problem) => Err(FileProblem::of_name(path, problem)),
        }
    }

    pub(crate) fn new(path: PathBuf, name: FileName, bytes: Vec<u8>) -> Result<Self, FileProblem> {
        let raw = text(&path, bytes)?;
        let sql = raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&raw);
        let sql = sql.replace("\r\n", "\n");
        let checksums = |sql: &str| {
            let of = |width| checksum(width, &name.name, name.version, sql);
            let wide = of(Width::Int8).expect("refinery read the version as an i64");
            (wide, of(Width::Int4))
        };
        let (checksum_wide, checksum_narrow) = checksums(&sql);

        Ok(Self {
            checksum_wide,
            checksum_narrow,
            respelled: respellings(&sql, raw).iter().map(|it| checksums(it)).collect(),
            path,
            kind: name.kind,
            version: name.version,
            name: name.name,
            sql,
        })
    }

    /// Returns the checksum that a history table of that width gets.
    pub fn checksum(&self, width: Width) -> Option<u64> {
        match width {
            Width::Int4 => self.checksum_narrow,
            Width::Int8 => Some(self.checksum_wide),
        }
    }

    /// Whether a stored checksum is this file's, whatever its line ends were then.
    pub fn recognises(&self, width: Width, stored: u64) -> bool {
        let mut respelled = self.respelled.iter().map(|&(wide, narrow)| match width {
            Width::Int4 => narrow,
            Width::Int8 => Some(wide),
        });
        self.checksum(width) == Some(stored) || respelled.any(|it| it == Some(stored))
    }

    /// Returns the migration for refinery's `Runner`; its checksum is the wide one.
    pub fn to_refinery(&self) -> refinery_core::Migration {
        refinery_core::Migration::unapplied(&self.to_string(), &self.sql)
            .expect("refinery read these parts from the file's name")
    }
}

/// Prints the file name without its extension, the version without leading zeros, as refinery
/// does.
impl fmt::Display for MigrationFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}__{}", self.kind, self.version, self.name)
    }
}

fn text(path: &std::path::Path, bytes: Vec<u8>) -> Result<String, FileProblem> {
    let line =
        |offset: usize, bytes: &[u8]| 1 + bytes[..offset].iter().filter(|b| **b == b'\n').count();

    if let Err(error) = std::str::from_utf8(&bytes) {
        let offset = error.valid_up_to();
        return Err(FileProblem::NotUtf8 {
            file: path.to_owned(),
            offset,
            line: line(offset, &bytes),
        });
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(FileProblem::Nul { file: path.to_owned(), offset, line: line(offset, &bytes) });
    }
    Ok(String::from_utf8(bytes).expect("it was checked above"))
}

fn respellings(sql: &str, raw: String) -> [String; 4] {
    let crlf = sql.replace('\n', "\r\n");
    [
        format!("{BYTE_ORDER_MARK}{sql}"),
        format!("{BYTE_ORDER_MARK}{crlf}"),
        crlf,
        raw, // where line ends are mixed
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LF: &str = "create table a (id int);\ncreate table b (id int);\n";
    const CRLF: &str = "create table a (id int);\r\ncreate table b (id int);\r\n";
    const MIXED: &str = "create table a (id int);\r\ncreate table b (id int);\n";

    fn file(sql: &str) -> MigrationFile {
        MigrationFile::from_bytes("migrations/V3__a.sql", sql.into()).unwrap()
    }

    fn stored(sql: &str) -> u64 {
        let migration = refinery_core::Migration::unapplied("V3__a", sql);
        migration.unwrap().checksum()
    }

    #[test]
    fn line_ends_and_byte_order_marks_make_no_difference() {
        for text in [LF, CRLF, MIXED].map(String::from) {
            for text in [format!("\u{feff}{text}"), text] {
                let file = file(&text);
                assert_eq!(file.sql, LF);
                assert_eq!(file.checksum_wide, stored(LF));
                for then in [LF, CRLF, &format!("\u{feff}{LF}"), &format!("\u{feff}{CRLF}"), &text]
                {
                    assert!(file.recognises(Width::Int8, stored(then)), "{text:?} {then:?}");
                }
            }
        }
        assert!(!file(LF).recognises(Width::Int8, stored("create table c ();")));
    }

    #[test]
    fn each_width_has_its_own_checksum() {
        let file = file(CRLF);
        let narrow = |sql| checksum(Width::Int4, "a", 3, sql).unwrap();
        assert_eq!(file.checksum_narrow, Some(narrow(LF)));
        assert!(file.recognises(Width::Int4, narrow(CRLF)));
        assert!(!file.recognises(Width::Int4, stored(LF)));
        assert!(!file.recognises(Width::Int8, narrow(LF)));
    }

    #[test]
    fn a_timestamp_has_no_narrow_checksum() {
        let file = MigrationFile::from_bytes("V20260101120000__a.sql", LF.into()).unwrap();
        assert_eq!(file.checksum(Width::Int4), None);
        assert!(!file.recognises(Width::Int4, 0));
    }

    #[test]
    fn refinery_gets_the_same_migration() {
        let file = MigrationFile::from_bytes("U03__a.sql", LF.into()).unwrap();
        let migration = file.to_refinery();
        assert_eq!(migration.to_string(), "U3__a");
        assert_eq!(migration.checksum(), file.checksum_wide);
        assert_eq!(migration.sql(), Some(LF));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for (bytes, problem) in [
            (b"a\nb\xff".as_slice(), "`V1__a.sql` is not UTF-8 at byte 3, line 2"),
            (b"\xff\xfea\0", "`V1__a.sql` is not UTF-8 at byte 0, line 1"),
            (b"a;\n\nb\0", "`V1__a.sql` has a NUL byte at byte 5, line 3"),
        ] {
            let error = MigrationFile::from_bytes("V1__a.sql", bytes.into()).unwrap_err();
            assert_eq!(error.to_string(), problem);
        }
    }
}
