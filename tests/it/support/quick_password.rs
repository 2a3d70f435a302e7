//! A verifier of the server's password that takes one round of hashing instead of 4,096 ([RFC 7677],
//! section 4): in a build without optimisation the rounds take longer than most tests.
//!
//! The password stays as it is, and who connects proves to know it as always.
//!
//! [RFC 7677]: https://www.rfc-editor.org/rfc/rfc7677#section-4

use std::thread;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tenantctl::pg::server::ServerConnection;
use tokio::runtime::Builder;

/// Has the server keep the verifier.
pub(super) fn set(connection: &ServerConnection) {
    let ServerConnection { user, password, .. } = connection;
    let sql = format!("alter role \"{user}\" password '{}'", verifier(password));
    let set = async {
        let mut connection = connection.options().connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    };
    // The thread of a test has a runtime already.
    let run = || Builder::new_current_thread().enable_all().build().unwrap().block_on(set);
    thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

/// Returns the verifier as `pg_authid` keeps it, of a password that needs no normalisation.
fn verifier(password: &str) -> String {
    let salt: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    let salted = hmac(password.as_bytes(), &[&salt[..], &1_u32.to_be_bytes()].concat());
    let stored_key = Sha256::digest(hmac(&salted, b"Client Key"));
    let server_key = hmac(&salted, b"Server Key");
    let [salt, stored_key, server_key] =
        [&salt[..], &stored_key[..], &server_key[..]].map(|bytes| BASE64.encode(bytes));
    format!("SCRAM-SHA-256$1:{salt}${stored_key}:{server_key}")
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.chain_update(message).finalize().into_bytes().into()
}
