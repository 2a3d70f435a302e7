//! refinery's checksum of a migration, in both of its widths.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

/// How wide a history table's `version` column is, and with it the checksums stored beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// refinery as it comes.
    Int4,
    /// refinery built with `int8-versions`.
    Int8,
}

/// Returns what refinery of that width stores for a migration; none if it has no room for the
/// version.
pub(crate) fn checksum(width: Width, name: &str, version: i64, sql: &str) -> Option<u64> {
    let mut hasher = SipHasher13::new();
    name.hash(&mut hasher);
    match width {
        Width::Int4 => i32::try_from(version).ok()?.hash(&mut hasher),
        Width::Int8 => version.hash(&mut hasher),
    }
    sql.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "create table orders (id int);\n";

    #[test]
    fn the_wide_one_is_refinerys() {
        for (stem, name, version) in
            [("V7__add_orders", "add_orders", 7), ("V20260101120000__a", "a", 20_260_101_120_000)]
        {
            let refinery = refinery_core::Migration::unapplied(stem, SQL).unwrap();
            assert_eq!(checksum(Width::Int8, name, version, SQL), Some(refinery.checksum()));
        }
    }

    /// The bytes that refinery hashes are those of `str`, `i32` and `str`: a string is followed
    /// by 0xff.
    #[test]
    fn the_narrow_one_hashes_four_bytes_of_version() {
        let mut hasher = SipHasher13::new();
        hasher.write(b"add_orders\xff");
        hasher.write(&7_i32.to_ne_bytes());
        hasher.write(SQL.as_bytes());
        hasher.write(b"\xff");
        assert_eq!(checksum(Width::Int4, "add_orders", 7, SQL), Some(hasher.finish()));
    }

    #[test]
    fn the_narrow_one_has_no_room_for_a_timestamp() {
        assert_eq!(checksum(Width::Int4, "a", i64::from(i32::MAX) + 1, SQL), None);
    }
}
