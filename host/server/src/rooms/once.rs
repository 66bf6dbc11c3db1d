//! Creates that are done once, however often the request arrives: the answer is kept with what was made, in the same write.

use super::{Error, Rooms, now};
use crate::store::{IDEMPOTENCY, Store, StoredAnswer, Tx};
use sqlx::SqliteConnection;

/// Gives the status and the body of an answer.
pub type Render<T> = dyn Fn(&T) -> (u16, String) + Send + Sync;

/// How a create is told from its repetitions. `render` gives the status and the body of the answer that is kept.
pub struct Once<T> {
    /// Who asks; keys of different callers do not meet.
    pub caller: String,
    pub key: String,
    /// Tells requests apart that carry the same key.
    pub request_hash: String,
    pub render: Box<Render<T>>,
}

/// What became of a create.
#[derive(Debug)]
pub enum Outcome<T> {
    Done(T),
    /// It was done before: the answer of then.
    Replayed(StoredAnswer),
}

/// The answer that was given before, if the request is a repetition.
pub(crate) async fn replayed<T>(c: &mut SqliteConnection, once: Option<&Once<T>>) -> Result<Option<StoredAnswer>, Error> {
    let Some(once) = once else { return Ok(None) };
    let since = now().saturating_sub(i64::try_from(IDEMPOTENCY.as_millis()).unwrap_or(i64::MAX));
    match Store::stored_answer(c, &once.caller, &once.key, since).await? {
        Some(answer) if answer.request_hash != once.request_hash => Err(Error::KeyReused),
        found => Ok(found),
    }
}

/// Keeps the answer of a create that is done in `tx`.
pub(crate) async fn keep<T>(tx: &mut Tx<'_>, once: Option<&Once<T>>, made: &T) -> Result<(), Error> {
    let Some(once) = once else { return Ok(()) };
    let (status, body) = (once.render)(made);
    let answer = StoredAnswer { request_hash: once.request_hash.clone(), status, body };
    Ok(tx.keep_answer(&once.caller, &once.key, &answer, now()).await?)
}

impl Rooms {
    /// The answer that was given before, if the request is a repetition. Looked up before anybody is asked about the create.
    pub(super) async fn repeated<T>(&self, once: Option<&Once<T>>) -> Result<Option<StoredAnswer>, Error> {
        if once.is_none() {
            return Ok(None);
        }
        replayed(&mut *self.store.read().await?, once).await
    }
}
