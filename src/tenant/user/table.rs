//! The table of a schema's users, as the catalog describes it.

use super::{Email, UserError, Username};
use crate::pg::{Connection, Row, Scope, ScopeError, literal, qualified};

const TABLE: &str = "users";
pub(super) const USERNAME: &str = "username";
pub(super) const PASSWORD: &str = "password";
const EMAIL: &str = "email";

/// What else is known about a new superuser, as SQL.
const KNOWN: [(&str, &str); 4] = [
    ("is_superuser", "true"),
    ("is_staff", "true"),
    ("is_active", "true"),
    ("date_joined", "now()"),
];

/// The table of a schema's users.
#[derive(Debug, Clone)]
pub struct UsersTable {
    scope: Scope,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    /// It takes no NULL, and nothing fills it by itself.
    is_required: bool,
}

/// Returns `"acme"."users"`.
pub(super) fn qualified_name(scope: &Scope) -> String {
    qualified(&scope.schema, TABLE)
}

impl UsersTable {
    /// Returns the table in `scope`'s schema.
    ///
    /// # Errors
    ///
    /// When there is no such schema, no such table in it, or it has no usernames or passwords.
    pub async fn of(connection: &mut Connection, scope: &Scope) -> Result<Self, UserError> {
        let rows = connection.ask(&columns_of(scope)).await?.rows;
        let schema = scope.schema.clone();
        if rows.is_empty() {
            return Err(ScopeError::NoSchema { schema }.into());
        }
        if rows[0].get(0).is_none() {
            let is_shared = scope.is_shared();
            return Err(UserError::NoTable { schema, is_shared });
        }
        let table = Self { scope: scope.clone(), columns: rows.iter().map(column).collect() };
        let columns = [USERNAME, PASSWORD].into_iter().filter(|it| !table.has(it));
        let columns: Vec<String> = columns.map(str::to_owned).collect();
        match columns.is_empty() {
            true => Ok(table),
            false => Err(UserError::MissingColumns { schema, columns }),
        }
    }

    /// Whether users have an e-mail address.
    pub fn has_email(&self) -> bool {
        self.has(EMAIL)
    }

    /// Whether a user cannot be without an e-mail address.
    pub fn requires_email(&self) -> bool {
        self.columns.iter().any(|it| it.is_required && it.name == EMAIL)
    }

    /// Refuses a table that demands what nobody can be asked for here.
    pub fn check_columns(&self) -> Result<(), UserError> {
        let is_known = |name: &str| {
            [USERNAME, PASSWORD, EMAIL].contains(&name) || KNOWN.iter().any(|(it, _)| *it == name)
        };
        self.refuse_required(|name| !is_known(name))
    }

    /// Returns the columns to fill for a new superuser, with their values as SQL.
    pub(super) fn values(
        &self,
        username: &Username,
        email: Option<&Email>,
        hash: &str,
    ) -> Result<Vec<(&'static str, String)>, UserError> {
        let mut values = vec![(USERNAME, literal(username.as_str())), (PASSWORD, literal(hash))];
        let email = email.filter(|_| self.has(EMAIL));
        values.extend(email.map(|email| (EMAIL, literal(email.as_str()))));
        let known = KNOWN.iter().filter(|(name, _)| self.has(name));
        values.extend(known.map(|(name, value)| (*name, (*value).to_owned())));
        self.refuse_required(|name| values.iter().all(|(it, _)| *it != name))?;
        Ok(values)
    }

    fn refuse_required(&self, is_unfilled: impl Fn(&str) -> bool) -> Result<(), UserError> {
        let unfilled = |it: &&Column| it.is_required && is_unfilled(&it.name);
        let columns = self.columns.iter().filter(unfilled);
        let columns: Vec<String> = columns.map(|it| it.name.clone()).collect();
        let schema = self.scope.schema.clone();
        match columns.is_empty() {
            true => Ok(()),
            false => Err(UserError::RequiredColumns { schema, columns }),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|it| it.name == name)
    }
}

fn column(row: &Row) -> Column {
    Column { name: row.text(0).to_owned(), is_required: row.flag(1) }
}

/// A row a column; one without a name when there is no such table, and none without the schema.
fn columns_of(scope: &Scope) -> String {
    format!(
        "select a.attname, a.attnotnull and not a.atthasdef and a.attidentity = '' \
           and a.attgenerated = '' and t.typdefault is null \
         from pg_namespace n \
         left join pg_class c on c.relnamespace = n.oid and c.relname = {} \
           and c.relkind in ('r', 'p', 'v', 'f') \
         left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
         left join pg_type t on t.oid = a.atttypid \
         where n.nspname = {} order by a.attnum",
        literal(TABLE),
        literal(scope.schema.as_str())
    )
}
