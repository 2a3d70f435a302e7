//! What people type about a user, checked once, when it is made.

use std::{fmt, str::FromStr};

/// As Django's `User.username`, and as the column that `init` writes.
const USERNAME_CHARACTERS: usize = 150;
/// The longest address there is (RFC 5321, "Path", less its brackets).
const EMAIL_CHARACTERS: usize = 254;
/// Shorter ones are found by trying.
const PASSWORD_SHORTEST: usize = 8;
/// Longer ones only keep the server busy.
const PASSWORD_LONGEST: usize = 1024;

/// The name a user logs in with. It is compared exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

/// A user's e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

/// A password as it was typed. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why something is not a username, an e-mail address or a password; `what` says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("{what} cannot be empty")]
    Empty { what: &'static str },
    #[error("{what} cannot be blank")]
    Blank { what: &'static str },
    #[error("{what} cannot contain control characters, such as {}", character.escape_default())]
    ControlCharacter { what: &'static str, character: char },
    #[error("{what} cannot begin or end with white space")]
    OuterSpace { what: &'static str },
    #[error("{what} has at most {most} characters, and this has {length}")]
    TooLong { what: &'static str, length: usize, most: usize },
    #[error("{what} has at least {least} characters, and this has {length}")]
    TooShort { what: &'static str, length: usize, least: usize },
    #[error("`{given}` is not an e-mail address, such as `ada@example.com`")]
    NotAnAddress { given: String },
}

impl Username {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = InputError;

    fn from_str(given: &str) -> Result<Self, InputError> {
        check("a username", given, USERNAME_CHARACTERS)?;
        refuse_outer_space("a username", given)?;
        Ok(Self(given.to_owned()))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Email {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InputError;

    /// Only the mail itself shows whether an address is one; this finds what was mistyped.
    fn from_str(given: &str) -> Result<Self, InputError> {
        check("an e-mail address", given, EMAIL_CHARACTERS)?;
        refuse_outer_space("an e-mail address", given)?;
        let is_address = given.rsplit_once('@').is_some_and(|(local, domain)| {
            let is_domain = domain.split('.').all(|label| !label.is_empty());
            !local.is_empty() && is_domain && !given.contains(char::is_whitespace)
        });
        if !is_address {
            return Err(InputError::NotAnAddress { given: given.to_owned() });
        }
        Ok(Self(given.to_owned()))
    }
}

impl Password {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Password {
    type Err = InputError;

    /// Spaces are welcome, also around it.
    fn from_str(given: &str) -> Result<Self, InputError> {
        check("a password", given, PASSWORD_LONGEST)?;
        let length = given.chars().count();
        if length < PASSWORD_SHORTEST {
            return Err(InputError::TooShort {
                what: "a password",
                length,
                least: PASSWORD_SHORTEST,
            });
        }
        Ok(Self(given.to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

fn check(what: &'static str, given: &str, most: usize) -> Result<(), InputError> {
    if given.is_empty() {
        return Err(InputError::Empty { what });
    }
    if let Some(character) = given.chars().find(|it| it.is_control()) {
        return Err(InputError::ControlCharacter { what, character });
    }
    if given.trim().is_empty() {
        return Err(InputError::Blank { what });
    }
    match given.chars().count() {
        length if length > most => Err(InputError::TooLong { what, length, most }),
        _ => Ok(()),
    }
}

fn refuse_outer_space(what: &'static str, given: &str) -> Result<(), InputError> {
    match given.trim() == given {
        true => Ok(()),
        false => Err(InputError::OuterSpace { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: FromStr<Err = InputError>>(given: &str) -> String {
        given.parse::<T>().err().map_or_else(|| "accepted".into(), |error| error.to_string())
    }

    #[test]
    fn a_username_is_one_line_of_text() {
        let longest = "ü".repeat(150);
        for given in ["ada", "Ada Lovelace", "o'brien", r"a\b", "\"", &longest] {
            assert_eq!(refusal::<Username>(given), "accepted");
        }
        let cases = [
            ("", "a username cannot be empty"),
            (" \u{a0}", "a username cannot be blank"),
            (" ada", "a username cannot begin or end with white space"),
            ("a\u{1b}[31m", r"a username cannot contain control characters, such as \u{1b}"),
            (&"a".repeat(151), "a username has at most 150 characters, and this has 151"),
        ];
        for (given, error) in cases {
            assert_eq!(refusal::<Username>(given), error);
        }
    }

    #[test]
    fn an_address_has_somebody_and_a_host() {
        for given in ["ada@example.com", "root@localhost", "a+b@bücher.example"] {
            assert_eq!(refusal::<Email>(given), "accepted");
        }
        for given in ["ada", "@x", "ada@", "a da@x", "ada@x..y", "ada@.x"] {
            assert!(refusal::<Email>(given).contains("is not an e-mail address"));
        }
        let long = format!("{}@example.com", "a".repeat(254));
        assert!(refusal::<Email>(&long).contains("at most 254"));
    }

    #[test]
    fn a_password_is_long_enough_and_never_shown() {
        assert_eq!(refusal::<Password>(" correct horse "), "accepted");
        assert_eq!(refusal::<Password>("        "), "a password cannot be blank");
        assert_eq!(
            refusal::<Password>("1234567"),
            "a password has at least 8 characters, and this has 7"
        );
        assert!(refusal::<Password>(&"a".repeat(1025)).contains("at most 1024"));
        assert!(refusal::<Password>("password\n").contains("control characters"));
        let password: Password = "correct horse".parse().unwrap();
        assert_eq!(format!("{password:?}"), "Password(…)");
    }
}
