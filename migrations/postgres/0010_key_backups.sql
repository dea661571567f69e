-- Key backups, and devices that wait for nobody who is signed in. `etag` grows with every change of
-- a backup's keys; a deleted backup stays as a row without keys, so that its version is not taken
-- for one that never was. The twin in ../sqlite has the same tables and columns.
CREATE TABLE key_backups (
    user_nid BIGINT NOT NULL,
    version BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data BYTEA NOT NULL,
    etag BIGINT NOT NULL,
    key_count BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,
    PRIMARY KEY (user_nid, version)
);
CREATE INDEX key_backups_emptied ON key_backups (user_nid, version) WHERE deleted AND key_count > 0;
CREATE TABLE backed_up_keys (
    user_nid BIGINT NOT NULL,
    version BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    is_verified BOOLEAN NOT NULL,
    session_data BYTEA NOT NULL,
    PRIMARY KEY (user_nid, version, room_id, session_id)
);
CREATE TABLE dehydrated_devices (
    user_nid BIGINT PRIMARY KEY,
    device_id TEXT NOT NULL,
    device_data BYTEA NOT NULL
);
