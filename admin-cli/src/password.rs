//! Passwords without a prompt: from a file, from standard input, or made here.

use std::{fs, io::Read as _};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hearth_admin_api::Password;

use crate::{arguments::PasswordSource, error::CliError};

/// 144 random bits: 24 letters, digits, `-` and `_`.
const GENERATED_BYTES: usize = 18;

/// A password, and whether its owner does not know it yet.
pub(crate) struct Chosen {
    pub(crate) password: Password,
    pub(crate) generated: bool,
}

pub(crate) fn choose(source: &PasswordSource) -> Result<Chosen, CliError> {
    let given = match &source.password_file {
        Some(path) => Some(fs::read_to_string(path).map_err(|source| CliError::File {
            action: "read the password from",
            path: path.clone(),
            source,
        })?),
        None if source.password_stdin => Some(read_stdin()?),
        None => None,
    };
    match given {
        Some(text) => Ok(Chosen {
            password: first_line(&text)?,
            generated: false,
        }),
        None => Ok(Chosen {
            password: generate()?,
            generated: true,
        }),
    }
}

fn read_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|_| CliError::Password("the password on standard input is not readable text"))?;
    Ok(text)
}

/// The text without its line end; a second line is a mistake, not part of a password.
fn first_line(text: &str) -> Result<Password, CliError> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(CliError::Password("the password is empty")),
        line if line.contains(['\n', '\r']) => {
            Err(CliError::Password("the password has more than one line"))
        }
        line => Ok(Password::new(line)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person's first password is made in this process, which no simulator runs"
)]
fn generate() -> Result<Password, CliError> {
    let mut bytes = [0; GENERATED_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|_| CliError::Password("the system gives no random bytes for a password"))?;
    Ok(Password::new(URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_password_is_one_line() {
        for (text, password) in [
            ("hunter2", Some("hunter2")),
            ("hunter2\n", Some("hunter2")),
            ("hunter2\r\n", Some("hunter2")),
            (" hunter2 \n", Some(" hunter2 ")),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
        ] {
            let read = first_line(text)
                .ok()
                .map(|password| password.expose().to_owned());
            assert_eq!(read.as_deref(), password, "{text:?}");
        }
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.expose().len(), 24);
        assert_ne!(one.expose(), two.expose());
    }
}
