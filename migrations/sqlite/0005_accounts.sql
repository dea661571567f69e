-- What an account may do, sessions that are refreshed, tokens that admit to register, and tokens that
-- are good for one purpose. The twin in ../postgres has the same tables and columns.
ALTER TABLE accounts ADD COLUMN locked BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE accounts ADD COLUMN suspended BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE accounts ADD COLUMN erased BOOLEAN NOT NULL DEFAULT FALSE;
-- Closed, and still in rooms that it has to leave.
ALTER TABLE accounts ADD COLUMN leaving BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX accounts_leaving ON accounts (user_nid) WHERE leaving;
CREATE INDEX accounts_erased ON accounts (user_nid) WHERE erased;

ALTER TABLE devices ADD COLUMN last_seen_ms INTEGER;
ALTER TABLE devices ADD COLUMN last_seen_address TEXT;

-- A token that a refresh gave is fresh until it is used; then what it takes the place of goes.
ALTER TABLE access_tokens ADD COLUMN expires_at_ms INTEGER;
ALTER TABLE access_tokens ADD COLUMN fresh BOOLEAN NOT NULL DEFAULT FALSE;
-- The refresh tokens of a session begin with the name of their family, so that one of long ago is known
-- without being kept.
CREATE TABLE refresh_tokens (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    family_hash BLOB NOT NULL UNIQUE,
    current_hash BLOB,
    previous_hash BLOB,
    expires_at_ms INTEGER,
    PRIMARY KEY (user_nid, device_id)
);
CREATE TABLE registration_tokens (
    token_hash BLOB PRIMARY KEY,
    token TEXT NOT NULL,
    uses_allowed INTEGER,
    completed INTEGER NOT NULL,
    expires_at_ms INTEGER,
    created_at_ms INTEGER NOT NULL
);
CREATE INDEX registration_tokens_by_token ON registration_tokens (token);
CREATE TABLE purpose_tokens (
    token_hash BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
);
CREATE INDEX purpose_tokens_by_device ON purpose_tokens (user_nid, device_id);
CREATE INDEX purpose_tokens_by_age ON purpose_tokens (expires_at_ms);
