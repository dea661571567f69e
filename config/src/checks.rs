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
    check_appservices(config)?;
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

/// What an application service is known by must be its own.
fn check_appservices(config: &Config) -> Result<(), ConfigError> {
    let services = &config.appservice.registrations;
    for (number, service) in services.iter().enumerate() {
        let earlier = || services[..number].iter();
        let key = format!("appservice.registrations.{number}");
        ensure(earlier().all(|other| other.id != service.id), &key, || {
            format!("has the id `{}`, as another one has", service.id)
        })?;
        ensure(
            earlier().all(|other| other.as_token != service.as_token),
            &key,
            || format!("(`{}`) has the `as_token` of another one", service.id),
        )?;
    }
    Ok(())
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
