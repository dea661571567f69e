//! People with accounts, and the rooms they make.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::error::LoadError;
use crate::http::{Call, Http, text};
use crate::measure::{Amount, spread};

/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// How many accounts, joins and events are prepared at once.
const PREPARING: usize = 16;

/// Makes people.
pub(crate) struct People {
    /// The server they are on.
    pub(crate) http: Arc<Http>,
    run: u128,
    count: AtomicUsize,
}

/// Somebody who is logged in.
pub(crate) struct Person {
    http: Arc<Http>,
    token: String,
    /// The whole user id.
    pub(crate) user_id: String,
}

impl People {
    /// On this server. Each run has names of its own, so that it can be repeated on one database.
    #[expect(
        clippy::disallowed_methods,
        reason = "a load tool has a clock of its own"
    )]
    pub(crate) fn new(http: Arc<Http>) -> Self {
        let run = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        Self {
            http,
            run,
            count: AtomicUsize::new(0),
        }
    }

    /// A name that nobody has.
    pub(crate) fn free_name(&self) -> String {
        format!(
            "load{}x{}",
            self.run,
            self.count.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Somebody new.
    ///
    /// # Errors
    /// When registration is refused.
    pub(crate) async fn person(&self) -> Result<Arc<Person>, LoadError> {
        register(&self.http, &self.free_name()).await
    }

    /// Several new people.
    ///
    /// # Errors
    /// When registration is refused.
    pub(crate) async fn several(&self, count: usize) -> Result<Vec<Arc<Person>>, LoadError> {
        let names: Arc<Vec<String>> = Arc::new((0..count).map(|_| self.free_name()).collect());
        let people = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let (http, made) = (Arc::clone(&self.http), Arc::clone(&people));
        prepare(count, move |number| {
            let (http, names, made) = (Arc::clone(&http), Arc::clone(&names), Arc::clone(&made));
            async move {
                let person = register(&http, &names[number]).await?;
                made.lock().await.push(person);
                Ok(())
            }
        })
        .await?;
        let people = std::mem::take(&mut *people.lock().await);
        Ok(people)
    }
}

/// Does something for each of the numbers `0..count`, before anything is measured.
///
/// # Errors
/// The first error of any of them.
pub(crate) async fn prepare<F, W>(count: usize, one: F) -> Result<(), LoadError>
where
    F: Fn(usize) -> W + Clone + Send + 'static,
    W: Future<Output = Result<(), LoadError>> + Send,
{
    spread(
        Amount {
            workers: PREPARING,
            requests: count,
        },
        one,
    )
    .await?;
    Ok(())
}

/// Registers somebody.
///
/// # Errors
/// When it is refused.
pub(crate) async fn register(http: &Arc<Http>, name: &str) -> Result<Arc<Person>, LoadError> {
    let path = "/v3/register";
    let body = json!({"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}});
    let answer = http.ask(None, Call::post(path, body)).await?;
    Ok(Arc::new(Person {
        http: Arc::clone(http),
        token: text(&answer, path, "access_token")?,
        user_id: text(&answer, path, "user_id")?,
    }))
}

impl Person {
    /// Makes a request as this person.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub(crate) async fn ask(&self, call: Call) -> Result<Bytes, LoadError> {
        self.http.ask(Some(&self.token), call).await
    }

    /// Makes a request whose answer does not matter.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub(crate) async fn tell(&self, call: Call) -> Result<(), LoadError> {
        self.ask(call).await.map(|_| ())
    }

    /// Creates a room that everybody may join, with these events in its state.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn room(&self, initial_state: &[Value]) -> Result<String, LoadError> {
        let body = json!({"preset": "public_chat", "initial_state": initial_state});
        let answer = self.ask(Call::post("/v3/createRoom", body)).await?;
        text(&answer, "/v3/createRoom", "room_id")
    }

    /// Joins a room.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn join(&self, room_id: &str) -> Result<(), LoadError> {
        self.tell(Call::post(format!("/v3/join/{room_id}"), json!({})))
            .await
    }

    /// Says something.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn say(&self, room_id: &str, txn_id: &str) -> Result<(), LoadError> {
        self.tell(message(room_id, txn_id)).await
    }

    /// Says many things, one after the other.
    ///
    /// # Errors
    /// When one is refused.
    pub(crate) async fn chat(
        self: &Arc<Self>,
        room_id: &str,
        count: usize,
    ) -> Result<(), LoadError> {
        let (person, room_id): (_, Arc<str>) = (Arc::clone(self), room_id.into());
        prepare(count, move |number| {
            let (person, room_id) = (Arc::clone(&person), Arc::clone(&room_id));
            async move { person.say(&room_id, &format!("chat{number}")).await }
        })
        .await
    }
}

/// Everybody joins a room.
///
/// # Errors
/// When somebody is refused.
pub(crate) async fn all_join(people: &[Arc<Person>], room_id: &str) -> Result<(), LoadError> {
    let (people, room_id): (Arc<Vec<_>>, Arc<str>) = (Arc::new(people.to_vec()), room_id.into());
    prepare(people.len(), move |number| {
        let (person, room_id) = (Arc::clone(&people[number]), Arc::clone(&room_id));
        async move { person.join(&room_id).await }
    })
    .await
}

/// A message of the usual length.
pub(crate) fn message(room_id: &str, txn_id: &str) -> Call {
    let body = format!("The quick brown fox jumps over the lazy dog; this is {txn_id}.");
    let path = format!("/v3/rooms/{room_id}/send/m.room.message/{txn_id}");
    Call::put(path, json!({"msgtype": "m.text", "body": body}))
}

/// This many events of state, none of which any server cares for.
pub(crate) fn any_state(count: usize) -> Vec<Value> {
    let event = |number| json!({"type": "com.example.load", "state_key": format!("{number}"), "content": {"number": number}});
    (0..count).map(event).collect()
}
