//! A value for a column of the registry, as a flag gives it.

/// Reads `paid_until=2099-12-31`; the value may be empty, and may hold any character.
pub(crate) fn column_and_value(given: &str) -> Result<(String, String), String> {
    let (column, value) = given.split_once('=').ok_or("it is not of the form COLUMN=VALUE")?;
    match column.is_empty() {
        true => Err("it names no column".into()),
        false => Ok((column.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::column_and_value;

    #[test]
    fn the_first_equals_sign_ends_the_column() {
        let read = |given: &str| column_and_value(given).ok();
        let pair = |column: &str, value: &str| Some((column.to_owned(), value.to_owned()));
        assert_eq!(read("note=a=b"), pair("note", "a=b"));
        assert_eq!(read("note="), pair("note", ""));
        assert_eq!((read("note"), read("=x")), (None, None));
    }
}
