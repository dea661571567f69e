//! What the whole process logs while somebody listens. A server works on many threads and tasks, so
//! that what a single thread logs would show nothing; and only one subscriber hears all of them.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use hearth::telemetry;
use hearth_config::{Config, LogLevel};

type Text = Mutex<Vec<u8>>;

/// Those who listen.
static LISTENERS: Mutex<Vec<Weak<Text>>> = Mutex::new(Vec::new());

/// Starts logging, at the level that says the most of what is ours.
static STARTED: LazyLock<()> = LazyLock::new(|| {
    let text = "[server]\nname = \"one.test\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n";
    let config = Config::from_layers(Some(("test.toml".as_ref(), text)), &[], &[]).unwrap();
    let mut settings = config.log;
    settings.level = LogLevel::Trace;
    let lines = telemetry::subscriber(&settings, || ToListeners);
    tracing::subscriber::set_global_default(lines).unwrap();
});

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears everything that this process logs, whatever test it comes from.
#[derive(Debug)]
pub(super) struct Log(Arc<Text>);

impl Log {
    pub(super) fn listen() -> Self {
        LazyLock::force(&STARTED);
        let text = Arc::default();
        lock(&LISTENERS).push(Arc::downgrade(&text));
        Self(text)
    }

    /// What was logged since the last time.
    pub(super) fn take(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut *lock(&self.0))).into_owned()
    }
}

struct ToListeners;

impl io::Write for ToListeners {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&LISTENERS).retain(|listener| {
            let text = listener.upgrade();
            text.inspect(|text| lock(text).extend_from_slice(bytes))
                .is_some()
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
