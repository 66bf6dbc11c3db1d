//! Creates that are done once, however often the request arrives: the answer is kept with what was made, in the same write.

use super::{Error, Rooms, now};
use crate::store::{IDEMPOTENCY, Store, StoredAnswer, Tx};
use sqlx::SqliteConnection;
use std::sync::Arc;

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
    /// Does a create once whose result is not kept in the database. No other write is done meanwhile, so `make` must be quick. What was
    /// made just before a crash is not known to be done.
    pub(crate) async fn create_once<T, E>(
        self: &Arc<Self>,
        once: Option<Once<T>>,
        make: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Outcome<T>, E>
    where
        T: Send + Sync + 'static,
        E: From<Error> + Send + 'static,
    {
        let Some(once) = once else { return Ok(Outcome::Done(make.await?)) };
        let this = Arc::clone(self);
        self.run(async move {
            let mut tx = this.store.write().await.map_err(Error::from)?;
            if let Some(answer) = replayed(tx.connection(), Some(&once)).await? {
                return Ok(Outcome::Replayed(answer));
            }
            let made = make.await?;
            let kept = async {
                keep(&mut tx, Some(&once), &made).await?;
                Ok::<_, Error>(tx.commit().await?)
            };
            if let Err(error) = kept.await {
                // It is made, which an error would deny.
                tracing::error!(%error, "an answer could not be kept: the request would be done again if it were repeated");
            }
            Ok(Outcome::Done(made))
        })
        .await
    }

    /// The answer that was given before, if the request is a repetition. Looked up before anybody is asked about the create.
    pub(super) async fn repeated<T>(&self, once: Option<&Once<T>>) -> Result<Option<StoredAnswer>, Error> {
        if once.is_none() {
            return Ok(None);
        }
        replayed(&mut *self.store.read().await?, once).await
    }
}
