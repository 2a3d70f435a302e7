//! The environment in which another program reaches the same database and, by unqualified names, the
//! same schema.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::error::Place;

/// A variable's name, and its value; `None` if it must not be set.
pub type Variable = (&'static str, Option<String>);

/// What need not be escaped in a URL (RFC 3986, "Unreserved Characters").
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the variables that libpq knows (Postgres documentation, "Environment Variables") and
/// `DATABASE_URL`, which everybody else does.
pub(super) fn variables(
    options: &PgConnectOptions,
    place: &Place,
    search_path: &str,
) -> Vec<Variable> {
    let password = password(options);
    let command_line = command_line(options, search_path);
    let mut parameters = tls(options);
    parameters.push(("options", command_line.clone()));
    let url = url(place, password.as_deref(), &parameters);
    let mut variables = vec![
        ("DATABASE_URL", Some(url)),
        ("PGHOST", Some(unbracketed(&place.host).to_owned())),
        ("PGPORT", Some(place.port.to_string())),
        ("PGUSER", Some(place.user.clone())),
        ("PGDATABASE", Some(place.database.clone())),
        ("PGPASSWORD", password),
        ("PGOPTIONS", Some(command_line)),
        // These would win over the others.
        ("PGHOSTADDR", None),
        ("PGSERVICE", None),
    ];
    variables.extend(TLS.map(|(parameter, variable)| {
        let given = parameters.iter().find(|(name, _)| *name == parameter);
        (variable, given.map(|(_, value)| value.clone()))
    }));
    variables
}

/// The parameters of a URL that say how TLS is used, and libpq's variables for them.
const TLS: [(&str, &str); 4] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
];

/// Returns how TLS is used, as parameters of a URL. `prefer` is left out: it is libpq's default,
/// and some drivers take the word for `require`.
fn tls(options: &PgConnectOptions) -> Vec<(&'static str, String)> {
    let url = parsable(options).to_url_lossy();
    let is_default = matches!(options.get_ssl_mode(), PgSslMode::Prefer);
    let given = |wanted: &str| {
        let value = url.query_pairs().find(|(name, _)| name == wanted)?.1;
        match wanted {
            "sslmode" => Some(value.into_owned()).filter(|_| !is_default),
            // The way sqlx shows a file; what was not given as one cannot be handed on.
            _ => Some(value.strip_prefix("file: ")?.to_owned()),
        }
    };
    TLS.into_iter().filter_map(|(parameter, _)| Some((parameter, given(parameter)?))).collect()
}

/// Returns the first file of TLS' that is not there, and the parameter that names it.
pub(super) fn missing_tls_file(options: &PgConnectOptions) -> Option<(&'static str, String)> {
    let files = tls(options).into_iter().filter(|(parameter, _)| *parameter != "sslmode");
    files.into_iter().find(|(_, file)| !Path::new(file).exists())
}

/// Returns the password, which sqlx tells only as part of a URL.
fn password(options: &PgConnectOptions) -> Option<String> {
    let url = parsable(options).to_url_lossy();
    let password = percent_decode_str(url.password()?);
    Some(password.decode_utf8_lossy().into_owned())
}

/// sqlx makes a URL without escaping the user's name, and panics when it cannot be read again.
fn parsable(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().host("host").username("user").database("database")
}

/// Returns what the server takes as its command line: what was there, and the search path, the
/// last of which wins. It separates arguments at white space that no backslash precedes
/// (Postgres documentation, the parameter `options` of "Parameter Key Words").
fn command_line(options: &PgConnectOptions, search_path: &str) -> String {
    let mut line = options.get_options().map_or_else(String::new, |given| format!("{given} "));
    line.push_str("-csearch_path=");
    for character in search_path.chars() {
        if character.is_ascii_whitespace() || character == '\\' {
            line.push('\\');
        }
        line.push(character);
    }
    line
}

/// A socket's folder cannot stand where the host does in every driver's URLs, nor can a user
/// before an empty host, so with a socket everything is a parameter.
fn url(place: &Place, password: Option<&str>, parameters: &[(&str, String)]) -> String {
    let mut query: Vec<(&str, &str)> = Vec::new();
    let authority = if place.host.starts_with('/') {
        query.extend([("host", place.host.as_str()), ("user", &place.user)]);
        query.extend(password.map(|password| ("password", password)));
        String::new()
    } else {
        let password = password.map_or_else(String::new, |it| format!(":{}", escaped(it)));
        let (user, host) = (escaped(&place.user), host(&place.host));
        format!("{user}{password}@{host}:{}", place.port)
    };
    let port = place.port.to_string();
    if authority.is_empty() {
        query.push(("port", &port));
    }
    query.extend(parameters.iter().map(|(name, value)| (*name, value.as_str())));
    let query = query.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
    let query = query.collect::<Vec<_>>().join("&");
    format!("postgresql://{authority}/{}?{query}", escaped(&place.database))
}

fn host(host: &str) -> String {
    match unbracketed(host) {
        address if address.contains(':') => format!("[{address}]"),
        name => escaped(name),
    }
}

fn unbracketed(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// With `%20` for a space: libpq does not take `+` for one.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use crate::pg::{Database, Source, search_path};

    fn shown(url: &str, schema: &str) -> String {
        let database = Database::from_url(url, Source::Given).unwrap();
        let variables = database.environment(&search_path([schema, "public"]));
        let line = |(name, value): &(&str, Option<String>)| match value {
            Some(value) => format!("{name}={value}"),
            None => format!("unset {name}"),
        };
        variables.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn value(url: &str, schema: &str, name: &str) -> String {
        let shown = shown(url, schema);
        let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap().to_owned()
    }

    #[test]
    fn everything_that_names_the_database_is_set_or_unset() {
        let url =
            "postgres://me:pass%20word@db.example:6543/app?sslmode=verify-full&sslrootcert=/ca";
        insta::assert_snapshot!(shown(url, "acme"), @r#"
        DATABASE_URL=postgresql://me:pass%20word@db.example:6543/app?sslmode=verify-full&sslrootcert=%2Fca&options=-csearch_path%3D%22acme%22%2C%5C%20%22public%22
        PGHOST=db.example
        PGPORT=6543
        PGUSER=me
        PGDATABASE=app
        PGPASSWORD=pass word
        PGOPTIONS=-csearch_path="acme",\ "public"
        unset PGHOSTADDR
        unset PGSERVICE
        PGSSLMODE=verify-full
        PGSSLROOTCERT=/ca
        unset PGSSLCERT
        unset PGSSLKEY
        "#);
    }

    #[test]
    fn a_socket_is_a_parameter() {
        let url = "postgres://me@%2Fvar%2Frun%2Fpostgresql/app";
        insta::assert_snapshot!(value(url, "acme", "DATABASE_URL"), @"postgresql:///app?host=%2Fvar%2Frun%2Fpostgresql&user=me&port=5432&options=-csearch_path%3D%22acme%22%2C%5C%20%22public%22");
        assert_eq!(value(url, "acme", "PGHOST"), "/var/run/postgresql");
    }

    #[test]
    fn an_address_has_brackets_in_the_url_only() {
        let url = "postgres://me@[::1]:5433/app";
        insta::assert_snapshot!(value(url, "acme", "DATABASE_URL"), @"postgresql://me@[::1]:5433/app?options=-csearch_path%3D%22acme%22%2C%5C%20%22public%22");
        assert_eq!(value(url, "acme", "PGHOST"), "::1");
    }

    #[test]
    fn a_user_that_is_no_word_is_escaped() {
        let url = "postgres://a%2Fb%40c:p@host/d%3Fe";
        insta::assert_snapshot!(value(url, "acme", "DATABASE_URL"), @"postgresql://a%2Fb%40c:p@host:5432/d%3Fe?options=-csearch_path%3D%22acme%22%2C%5C%20%22public%22");
    }

    #[test]
    fn spaces_and_backslashes_stay_in_one_argument() {
        let url = "postgres://me@host/app?options=-c%20geqo%3Doff";
        insta::assert_snapshot!(value(url, r#"a \ "b"#, "PGOPTIONS"), @r#"-c geqo=off -csearch_path="a\ \\\ ""b",\ "public""#);
    }
}
