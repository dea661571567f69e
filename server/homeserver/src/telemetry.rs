//! The log: one line per event on standard error, for people or as JSON.

use hearth_config::{LogFormat, sections::Log};
use tracing::{Level, Subscriber};
use tracing_subscriber::{
    Layer, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, registry,
    util::SubscriberInitExt,
};

/// Logs where a panic happened instead of printing what it says, which may quote what people wrote.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a bug: the code panicked");
    }));
}

/// Starts logging as configured. Only the first call of a process has an effect.
pub fn start(log: &Log) {
    let _ = subscriber(log, std::io::stderr).try_init();
}

/// What turns events into lines, and lets through what may be shown.
pub fn subscriber<W>(log: &Log, writer: W) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match log.level {
        hearth_config::LogLevel::Error => Level::ERROR,
        hearth_config::LogLevel::Warn => Level::WARN,
        hearth_config::LogLevel::Info => Level::INFO,
        hearth_config::LogLevel::Debug => Level::DEBUG,
        hearth_config::LogLevel::Trace => Level::TRACE,
    };
    // Libraries speak from `warn` on: their finer lines may show headers, bodies and SQL values.
    let ours = [
        "hearth",
        "hearth_engine",
        "hearth_federation",
        "hearth_storage",
    ];
    let filter = Targets::new()
        .with_default(level.min(Level::WARN))
        .with_targets(ours.map(|name| (name, level)));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines.with_filter(filter))
}
