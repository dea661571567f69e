//! `hearthctl db`: looks after the database itself, with or without a running server.

mod verify;

pub(crate) use verify::verify;
