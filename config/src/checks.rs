//! Rules that a single value's type cannot say: ranges, and settings that belong together.

use std::os::unix::ffi::OsStrExt;

use crate::{Config, ConfigError, sections::Listener};

/// The kernel's limit for a Unix socket's path is 108 bytes with its end.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Checks what `Config::read` has read.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    if config.listeners.is_empty() {
        return Err(ConfigError::Missing {
            key: "listener".to_owned(),
            hint: "write at least one [[listener]] section with a bind address".to_owned(),
        });
    }
    for (number, listener) in config.listeners.iter().enumerate() {
        check_listener(number, listener, &config.listeners[..number])?;
    }
    let at_least = [
        (
            "password.argon2_memory_kib",
            config.password.argon2_memory_kib,
            8,
        ),
        ("password.argon2_passes", config.password.argon2_passes, 1),
        (
            "federation.retry_initial_ms",
            config.federation.retry_initial_ms,
            1,
        ),
        ("cache.memory_mib", config.cache.memory_mib, 16),
    ];
    for (key, value, least) in at_least {
        ensure(value >= least, key, || {
            format!("must be at least {least}, not {value}")
        })?;
    }
    ensure(
        !config.rooms.default_version.is_empty(),
        "rooms.default_version",
        || "must name a room version".to_owned(),
    )?;
    let socket = config.admin_socket();
    ensure(
        socket.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX,
        "admin.socket",
        || {
            format!(
                "must be at most {SOCKET_PATH_BYTES_MAX} bytes long, but it is {}; choose a shorter one",
                socket.display()
            )
        },
    )
}

fn check_listener(
    number: usize,
    listener: &Listener,
    earlier: &[Listener],
) -> Result<(), ConfigError> {
    let key = |name: &str| format!("listener.{number}.{name}");
    ensure(
        listener.tls_cert.is_none() || listener.tls_key.is_some(),
        &key("tls_cert"),
        || "needs `tls_key` beside it".to_owned(),
    )?;
    ensure(
        listener.tls_key.is_none() || listener.tls_cert.is_some(),
        &key("tls_key"),
        || "needs `tls_cert` beside it".to_owned(),
    )?;
    ensure(!listener.resources.is_empty(), &key("resources"), || {
        "must name at least one resource".to_owned()
    })?;
    let taken = listener.bind.port() != 0 && earlier.iter().any(|l| l.bind == listener.bind);
    ensure(!taken, &key("bind"), || {
        format!("{} is already used by another listener", listener.bind)
    })
}

fn ensure(holds: bool, key: &str, rule: impl FnOnce() -> String) -> Result<(), ConfigError> {
    match holds {
        true => Ok(()),
        false => Err(ConfigError::Invalid {
            place: format!("`{key}`"),
            rule: rule(),
        }),
    }
}
