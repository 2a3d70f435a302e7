//! The hostname that leads to a tenant.

use std::{borrow::Cow, fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};

const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// A hostname in the one form in which it is stored and compared: lower case, punycode, without
/// port and trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(Arc<str>);

/// A text that is no hostname, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a hostname: {rule}", printable(given))]
pub struct HostnameError {
    pub given: String,
    pub rule: HostnameRule,
    /// The hostname that can be read out of what was given.
    pub host_part: Option<String>,
}

/// The rule that a text breaks which is no hostname.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameRule {
    #[error("it is empty")]
    Empty,
    #[error("it contains white space")]
    Space,
    #[error("it contains a scheme, `{0}://`")]
    Scheme(String),
    #[error("it contains a path")]
    Path,
    #[error("it contains a user")]
    User,
    #[error("it contains a port")]
    Port,
    #[error("a wildcard stands for many hosts")]
    Wildcard,
    #[error("it is an IPv4 address, or would be read as one")]
    Ipv4,
    #[error("it is an IPv6 address")]
    Ipv6,
    #[error("it contains `{}`, and labels are made of letters, digits and hyphens", .0.escape_default())]
    Character(char),
    #[error("it has an empty label between its dots")]
    EmptyLabel,
    #[error("its label `{0}` begins or ends with a hyphen")]
    OuterHyphen(String),
    #[error("its label `{label}` is {bytes} bytes long, and a label may have {MAX_LABEL}")]
    LongLabel { label: String, bytes: usize },
    #[error("it is {0} bytes long, and a hostname may have {MAX_NAME}")]
    LongName(usize),
    #[error("it breaks the rules of internationalized names (UTS 46)")]
    Idna,
}

impl Hostname {
    /// Reads the `Host` of a request, which may have a port.
    pub fn from_host_header(header: &str) -> Result<Self, HostnameError> {
        let host = match header.rsplit_once(':') {
            Some((host, port)) if is_port(port) => host,
            _ => header,
        };
        host.parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        one_form(given).map(Self).map_err(|rule| HostnameError {
            given: given.to_owned(),
            rule,
            host_part: host_part(given),
        })
    }
}

fn one_form(given: &str) -> Result<Arc<str>, HostnameRule> {
    refuse_other_things(given)?;
    let name = given.strip_suffix('.').unwrap_or(given);
    check_characters(name)?;
    let ascii = to_ascii(name)?;
    check_labels(&ascii)?;
    Ok(ascii.into())
}

/// Refuses what is more than a hostname: an URL, an address, a pattern.
fn refuse_other_things(given: &str) -> Result<(), HostnameRule> {
    if given.is_empty() {
        return Err(HostnameRule::Empty);
    }
    if given.contains(char::is_whitespace) {
        return Err(HostnameRule::Space);
    }
    if let Some((scheme, _)) = given.split_once("://") {
        return Err(HostnameRule::Scheme(scheme.to_owned()));
    }
    if given.contains(['/', '?', '#']) {
        return Err(HostnameRule::Path);
    }
    if given.contains('@') {
        return Err(HostnameRule::User);
    }
    if is_ipv6(given) {
        return Err(HostnameRule::Ipv6);
    }
    if given.contains(':') {
        return Err(HostnameRule::Port);
    }
    if given.split('.').any(|label| label == "*") {
        return Err(HostnameRule::Wildcard);
    }
    Ok(())
}

fn is_ipv6(given: &str) -> bool {
    given.starts_with('[') || given.parse::<Ipv6Addr>().is_ok()
}

/// What follows a host's colon; empty too, says RFC 3986.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_characters(name: &str) -> Result<(), HostnameRule> {
    let stranger = |c: &char| {
        c.is_control() || c.is_ascii() && !c.is_ascii_alphanumeric() && !".-".contains(*c)
    };
    if let Some(character) = name.chars().find(stranger) {
        return Err(HostnameRule::Character(character));
    }
    // Before they become punycode, where a label's own hyphens are hard to tell.
    match name.split('.').find(|label| label.starts_with('-') || label.ends_with('-')) {
        Some(label) => Err(HostnameRule::OuterHyphen(label.to_owned())),
        None => Ok(()),
    }
}

fn to_ascii(name: &str) -> Result<Cow<'_, str>, HostnameRule> {
    Uts46::new()
        .to_ascii(
            name.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Ignore, // `check_labels` says which label it is
        )
        .map_err(|_| HostnameRule::Idna)
}

fn check_labels(name: &str) -> Result<(), HostnameRule> {
    for label in name.split('.') {
        if label.is_empty() {
            return Err(HostnameRule::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(HostnameRule::LongLabel { label: label.to_owned(), bytes: label.len() });
        }
    }
    if name.len() > MAX_NAME {
        return Err(HostnameRule::LongName(name.len()));
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(HostnameRule::Ipv4);
    }
    Ok(())
}

/// Whether browsers take a name with this last label for an IPv4 address (`127.1`, `0x7f000001`).
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the hostname within `https://user@acme.example.com:8000/path`.
fn host_part(given: &str) -> Option<String> {
    let rest = given.trim();
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next()?;
    let rest = rest.rsplit('@').next()?;
    let rest = match rest.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => rest,
    };
    let rest = rest.strip_prefix("*.").unwrap_or(rest);
    (rest != given).then(|| one_form(rest).ok())?.map(|host| host.to_string())
}

fn printable(given: &str) -> String {
    given
        .chars()
        .map(|character| match character.is_control() {
            true => character.escape_default().to_string(),
            false => character.to_string(),
        })
        .collect()
}

impl TryFrom<String> for Hostname {
    type Error = HostnameError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<Hostname> for String {
    fn from(hostname: Hostname) -> Self {
        hostname.0.as_ref().to_owned()
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        let longest_label = format!("{}.example", "a".repeat(63));
        for (given, stored) in [
            ("acme.example.com", "acme.example.com"),
            ("ACME.Example.com.", "acme.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("acme。example", "acme.example"),
            ("localhost", "localhost"),
            ("eha.mydomain.localhost", "eha.mydomain.localhost"),
            ("1acme.example", "1acme.example"),
            ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
            (&longest_label, &longest_label),
        ] {
            assert_eq!(given.parse::<Hostname>().unwrap().as_str(), stored);
        }
    }

    #[test]
    fn every_refusal_states_its_rule() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_unicode_label = format!("{}.example", "ü".repeat(60));
        let long_name = vec!["a".repeat(62); 5].join(".");
        for (given, rule) in [
            ("", "it is empty"),
            (".", "an empty label"),
            ("acme example.com", "white space"),
            (" acme.example.com", "white space"),
            ("https://acme.example.com", "a scheme, `https://`"),
            ("acme.example.com/x", "a path"),
            ("acme.example.com?x", "a path"),
            ("me@acme.example.com", "a user"),
            ("acme.example.com:8000", "a port"),
            ("*.example.com", "a wildcard"),
            ("a*.example.com", "`*`"),
            ("a_b.example.com", "`_`"),
            ("a\x1bb.example.com", r"`\u{1b}`"),
            ("a\0b", r"`a\u{0}b` is not a hostname: it contains `\u{0}`"),
            ("a..b", "an empty label"),
            ("a.b..", "an empty label"),
            ("-a.example", "label `-a` begins or ends with a hyphen"),
            ("bü-.example", "label `bü-` begins or ends with a hyphen"),
            (&long_label, "is 64 bytes long, and a label may have 63"),
            (&long_unicode_label, "and a label may have 63"),
            (&long_name, "it is 314 bytes long"),
            ("127.0.0.1", "IPv4"),
            ("127.1", "IPv4"),
            ("１２７.0.0.1", "IPv4"),
            ("0x7f000001", "IPv4"),
            ("1234", "IPv4"),
            ("[::1]", "IPv6"),
            ("[::1]:80", "IPv6"),
            ("::1", "IPv6"),
            ("xn--a.example", "UTS 46"),
            ("xn--bcher-.example", "hyphen"),
            ("xn--zzzzzzzzzz99999999.example", "UTS 46"),
            ("xn--acme-.x.example", "hyphen"),
            ("a\u{202e}b.example", "UTS 46"),
        ] {
            let error = given.parse::<Hostname>().unwrap_err().to_string();
            assert!(error.contains(rule), "{given:?}: {error}");
        }
    }

    #[test]
    fn the_host_within_is_found() {
        for (given, host) in [
            ("https://acme.example.com/", Some("acme.example.com")),
            ("acme.example.com:8000", Some("acme.example.com")),
            ("https://me:pw@Acme.example.com.:8000/x?y#z", Some("acme.example.com")),
            (" acme.example.com\n", Some("acme.example.com")),
            ("*.example.com", Some("example.com")),
            ("acme example.com", None),
            ("http://127.0.0.1:8000/", None),
            ("[::1]:8000", None),
            ("a..b", None),
        ] {
            let error = given.parse::<Hostname>().unwrap_err();
            assert_eq!(error.host_part.as_deref(), host, "{given}");
        }
    }

    #[test]
    fn a_host_header_may_have_a_port() {
        for header in ["ACME.example.com:8000", "acme.example.com.", "acme.example.com:"] {
            let host = Hostname::from_host_header(header).unwrap();
            assert_eq!(host.as_str(), "acme.example.com");
        }
        for header in ["", ":80", "[::1]:80", "127.0.0.1:80", "acme.example.com:80:80", "a:b"] {
            assert!(Hostname::from_host_header(header).is_err(), "{header}");
        }
    }
}
