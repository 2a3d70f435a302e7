//! The users of one schema: those of a tenant, or those of the shared schema.
//!
//! They are rows of a table `users` of that very schema. Which of its columns are filled depends
//! on which there are, so the table that `init` writes serves, and so does one of the app's own.
//! Names are always written with their schema: where a tenant has no such table, the search path
//! would lead to the shared schema's.

mod input;
mod table;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHasher as _, SaltString};

pub use self::input::{Email, InputError, Password, Username};
pub use self::table::UsersTable;

use crate::name::SchemaName;
use crate::pg::{Connection, Incomplete, Scope, ScopeError, SqlError, identifier, literal};

/// What a new user is made from.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Unlike every other username in the schema, compared exactly.
    pub username: Username,
    /// Where the table has a column for it.
    pub email: Option<Email>,
    /// Stored as a hash only.
    pub password: Password,
}

/// Why nothing was done to a user.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UserError {
    /// The schema has no such table. That another in the search path has one does not count.
    #[error("schema `{}` has no table `users`", schema.as_str().escape_debug())]
    NoTable {
        /// The schema.
        schema: SchemaName,
        /// It is the shared schema.
        is_shared: bool,
    },
    /// The table is not one of users.
    #[error(
        "table `users` in schema `{}` has no column {}",
        schema.as_str().escape_debug(),
        quoted(columns)
    )]
    MissingColumns {
        /// The schema.
        schema: SchemaName,
        /// The columns it would need.
        columns: Vec<String>,
    },
    /// The table demands what only the app knows.
    #[error(
        "table `users` in schema `{}` wants a value for {}, which has no default",
        schema.as_str().escape_debug(),
        quoted(columns)
    )]
    RequiredColumns {
        /// The schema.
        schema: SchemaName,
        /// The columns without a default.
        columns: Vec<String>,
    },
    /// There is a user of that name.
    #[error("there is a user `{username}` in schema `{}` already", schema.as_str().escape_debug())]
    Taken {
        /// The schema.
        schema: SchemaName,
        /// The name.
        username: Username,
    },
    /// There is no user of that name.
    #[error("there is no user `{username}` in schema `{}`", schema.as_str().escape_debug())]
    Unknown {
        /// The schema.
        schema: SchemaName,
        /// The name.
        username: Username,
    },
    /// The table lets two users have one name.
    #[error(
        "{count} users of schema `{}` are called `{username}`, and which is meant is not known",
        schema.as_str().escape_debug()
    )]
    Ambiguous {
        /// The schema.
        schema: SchemaName,
        /// The name.
        username: Username,
        /// How many.
        count: u64,
    },
    /// The transaction did not come to its end.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

fn quoted(columns: &[String]) -> String {
    let columns = columns.iter().map(|it| format!("`{}`", it.escape_debug()));
    columns.collect::<Vec<_>>().join(", ")
}

impl From<Incomplete> for UserError {
    fn from(incomplete: Incomplete) -> Self {
        Self::Scope(incomplete.into())
    }
}

/// Returns whether `scope`'s schema has a user of exactly this name.
pub async fn exists(
    connection: &mut Connection,
    scope: &Scope,
    username: &Username,
) -> Result<bool, UserError> {
    let question = format!(
        "select exists (select from {} where {})",
        table::qualified_name(scope),
        is_called(username)
    );
    Ok(connection.ask(&question).await?.rows[0].flag(0))
}

/// Creates a user who may do everything in `scope`'s schema, and is in no other.
///
/// # Errors
///
/// [`UserError::Taken`] when there is one of that name. Nothing is changed then.
pub async fn create_superuser(
    connection: &mut Connection,
    scope: &Scope,
    user: &NewUser,
) -> Result<(), UserError> {
    let table = UsersTable::of(connection, scope).await?;
    let values = table.values(&user.username, user.email.as_ref(), &hash(&user.password))?;
    let columns: Vec<String> = values.iter().map(|(name, _)| identifier(name)).collect();
    let values: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
    // Where the table itself does not keep names apart, the condition does.
    let insert = format!(
        "insert into {users} ({}) select {} where not exists (select from {users} where {})",
        columns.join(", "),
        values.join(", "),
        is_called(&user.username),
        users = table::qualified_name(scope),
    );
    let taken =
        || UserError::Taken { schema: scope.schema.clone(), username: user.username.clone() };
    let mut transaction = scope.begin(connection).await?;
    let created = match transaction.send(insert).await {
        Err(Incomplete::Sql(error)) if is_about_the_username(&error) => return Err(taken()),
        other => other?.last().map_or(0, |it| it.affected),
    };
    if created == 0 {
        transaction.roll_back().await;
        return Err(taken());
    }
    Ok(transaction.commit().await?)
}

/// Finds out whether [`create_superuser`] would do it, and changes nothing.
///
/// # Errors
///
/// Those it would have.
pub async fn foresee_superuser(
    connection: &mut Connection,
    scope: &Scope,
    username: &Username,
    email: Option<&Email>,
) -> Result<(), UserError> {
    UsersTable::of(connection, scope).await?.values(username, email, "")?;
    match exists(connection, scope, username).await? {
        true => Err(UserError::Taken { schema: scope.schema.clone(), username: username.clone() }),
        false => Ok(()),
    }
}

/// Gives a user of `scope`'s schema a new password.
///
/// # Errors
///
/// [`UserError::Unknown`] when there is no user of exactly that name, [`UserError::Ambiguous`]
/// when there are two. Nothing is changed then.
pub async fn change_password(
    connection: &mut Connection,
    scope: &Scope,
    username: &Username,
    password: &Password,
) -> Result<(), UserError> {
    UsersTable::of(connection, scope).await?;
    let update = format!(
        "update {} set {} = {} where {}",
        table::qualified_name(scope),
        identifier(table::PASSWORD),
        literal(&hash(password)),
        is_called(username)
    );
    let mut transaction = scope.begin(connection).await?;
    let answers = transaction.send(update).await?;
    match refuse_all_but_one(scope, username, answers.last().map_or(0, |it| it.affected)) {
        Ok(()) => Ok(transaction.commit().await?),
        Err(error) => {
            transaction.roll_back().await;
            Err(error)
        }
    }
}

/// Finds out whether [`change_password`] would do it, and changes nothing.
///
/// # Errors
///
/// Those it would have.
pub async fn foresee_password(
    connection: &mut Connection,
    scope: &Scope,
    username: &Username,
) -> Result<(), UserError> {
    UsersTable::of(connection, scope).await?;
    let question =
        format!("select from {} where {}", table::qualified_name(scope), is_called(username));
    let found = connection.ask(&question).await?.affected;
    refuse_all_but_one(scope, username, found)
}

fn refuse_all_but_one(scope: &Scope, username: &Username, count: u64) -> Result<(), UserError> {
    let (schema, username) = (scope.schema.clone(), username.clone());
    match count {
        1 => Ok(()),
        0 => Err(UserError::Unknown { schema, username }),
        count => Err(UserError::Ambiguous { schema, username, count }),
    }
}

fn is_called(username: &Username) -> String {
    let column = identifier(table::USERNAME);
    format!("{column}::text = {}", literal(username.as_str()))
}

/// Whether two users cannot have one name, by the table's own rule, which may ignore case.
fn is_about_the_username(error: &SqlError) -> bool {
    // The server's words may be in any language, but the columns stand in brackets.
    let columns = error.detail.as_deref().unwrap_or_default();
    let is_named = ["(username)", "(lower(username", "(upper(username"];
    error.is("23505") && is_named.iter().any(|it| columns.contains(it))
}

/// Returns the password's hash, Argon2id in PHC format.
fn hash(password: &Password) -> String {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_str().as_bytes(), &salt);
    let hash = hash.expect("the salt is well made, and the password is not over-long");
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier as _;
    use argon2::password_hash::PasswordHash;

    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_belongs_to_its_password_alone() {
        let password: Password = "correct horse".parse().unwrap();
        let text = hash(&password);
        assert!(text.starts_with("$argon2id$v=19$"), "{text}");
        assert_ne!(hash(&password), text);

        let hash = PasswordHash::new(&text).unwrap();
        let fits = |password: &[u8]| Argon2::default().verify_password(password, &hash).is_ok();
        assert!(fits(b"correct horse"));
        assert!(!fits(b"correct horse "));
    }
}
