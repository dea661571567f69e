-- The first schema. The twin in ../postgres has the same tables and columns; only types and
-- index options differ. `*_nid` are local integer keys that never leave the process; ids and
-- bytes that a remote chose (`kind`, `state_key`, event JSON) are BLOB, since they may hold NUL.

-- Whose database this is, and the log's head.
CREATE TABLE server_identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    server_name TEXT NOT NULL,
    signing_key_id TEXT NOT NULL,
    signing_key_fingerprint TEXT NOT NULL,
    generation TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
);
CREATE TABLE log_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
);
INSERT INTO log_head (id, position) VALUES (1, 0);
CREATE TABLE nid_blocks (
    kind TEXT PRIMARY KEY,
    next INTEGER NOT NULL
);
CREATE TABLE followers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL
);

-- Interned names.
CREATE TABLE servers (
    server_nid INTEGER PRIMARY KEY,
    server_name TEXT NOT NULL UNIQUE
);
CREATE TABLE users (
    user_nid INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    server_nid INTEGER NOT NULL
);
CREATE TABLE state_keys (
    state_key_nid INTEGER PRIMARY KEY,
    kind BLOB NOT NULL,
    state_key BLOB NOT NULL,
    UNIQUE (kind, state_key)
);

-- Accounts of our own people.
CREATE TABLE accounts (
    user_nid INTEGER PRIMARY KEY,
    password_hash TEXT,
    admin BOOLEAN NOT NULL,
    deactivated BOOLEAN NOT NULL,
    created_at_ms INTEGER NOT NULL
);
CREATE TABLE devices (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_nid, device_id)
);
CREATE TABLE access_tokens (
    token_hash BLOB PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
);
CREATE INDEX access_tokens_by_device ON access_tokens (user_nid, device_id);
CREATE TABLE profiles (
    user_nid INTEGER NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user_nid, field)
);
CREATE TABLE account_data (
    user_nid INTEGER NOT NULL,
    room_nid INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user_nid, room_nid, kind)
);
CREATE INDEX account_data_by_position ON account_data (user_nid, position);
CREATE TABLE filters (
    user_nid INTEGER NOT NULL,
    filter_id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (user_nid, filter_id)
);

-- End-to-end encryption. `device_keys` and `cross_signing_keys` hold our own people's keys and,
-- for remote people whose list `remote_device_lists` says is fresh, a copy of theirs.
CREATE TABLE device_keys (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    content BLOB NOT NULL,
    display_name TEXT,
    PRIMARY KEY (user_nid, device_id)
);
CREATE TABLE one_time_keys (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (user_nid, device_id, algorithm, key_id)
);
CREATE INDEX one_time_keys_in_order ON one_time_keys (user_nid, device_id, algorithm, ordinal, key_id);
CREATE TABLE fallback_keys (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    used BOOLEAN NOT NULL,
    PRIMARY KEY (user_nid, device_id, algorithm)
);
CREATE TABLE cross_signing_keys (
    user_nid INTEGER NOT NULL,
    usage TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (user_nid, usage)
);
CREATE TABLE key_signatures (
    target_nid INTEGER NOT NULL,
    target_key TEXT NOT NULL,
    signer_nid INTEGER NOT NULL,
    signer_key TEXT NOT NULL,
    signature TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (target_nid, target_key, signer_nid, signer_key)
);
CREATE INDEX key_signatures_by_signer ON key_signatures (signer_nid, position);
CREATE TABLE device_list_changes (
    user_nid INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    stream_id INTEGER NOT NULL
);
CREATE INDEX device_list_changes_by_position ON device_list_changes (position);
CREATE TABLE remote_device_lists (
    user_nid INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL,
    fresh BOOLEAN NOT NULL,
    position INTEGER NOT NULL
);
CREATE TABLE to_device (
    position INTEGER PRIMARY KEY,
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    message BLOB NOT NULL
);
CREATE INDEX to_device_by_device ON to_device (user_nid, device_id, position);
CREATE TABLE to_device_received (
    server_nid INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (server_nid, message_id)
);
CREATE INDEX to_device_received_by_age ON to_device_received (received_at_ms);
CREATE TABLE client_transactions (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    room_nid INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_nid, device_id, room_nid, endpoint, txn_id)
);
CREATE INDEX client_transactions_by_event ON client_transactions (event_id);

-- Rooms: the graph, its state and what follows from it. `revision` counts a room's commits.
CREATE TABLE rooms (
    room_nid INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    snapshot_nid INTEGER
);
CREATE TABLE events (
    event_nid INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    room_nid INTEGER NOT NULL,
    sender_nid INTEGER NOT NULL,
    state_key_nid INTEGER,
    depth INTEGER NOT NULL,
    origin_server_ts INTEGER NOT NULL,
    live_position INTEGER,
    fate INTEGER NOT NULL,
    outbound BOOLEAN NOT NULL,
    snapshot_nid INTEGER,
    redacted_by TEXT
);
CREATE INDEX events_live ON events (room_nid, live_position) WHERE live_position IS NOT NULL;
CREATE INDEX events_history ON events (room_nid, depth, event_nid);
CREATE INDEX events_outbound ON events (live_position) WHERE outbound;
CREATE INDEX events_by_snapshot ON events (snapshot_nid) WHERE snapshot_nid IS NOT NULL;
CREATE TABLE event_json (
    event_nid INTEGER PRIMARY KEY,
    json BLOB NOT NULL
);
CREATE TABLE event_edges (
    event_nid INTEGER NOT NULL,
    prev_nid INTEGER NOT NULL,
    PRIMARY KEY (event_nid, prev_nid)
);
CREATE INDEX event_edges_by_prev ON event_edges (prev_nid);
CREATE TABLE event_auth (
    event_nid INTEGER NOT NULL,
    auth_nid INTEGER NOT NULL,
    PRIMARY KEY (event_nid, auth_nid)
);
CREATE TABLE forward_extremities (
    room_nid INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, event_nid)
);
CREATE TABLE backward_extremities (
    room_nid INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    child_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, event_id, child_nid)
);
CREATE TABLE state_snapshots (
    snapshot_nid INTEGER PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    base_nid INTEGER,
    hops INTEGER NOT NULL,
    delta BLOB NOT NULL
);
CREATE TABLE state_changes (
    position INTEGER PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    state_key_nid INTEGER NOT NULL,
    event_nid INTEGER
);
CREATE INDEX state_changes_by_room ON state_changes (room_nid, position);
CREATE TABLE memberships (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    membership TEXT NOT NULL,
    event_nid INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (room_nid, user_nid)
);
CREATE INDEX memberships_by_user ON memberships (user_nid, membership);
CREATE INDEX memberships_by_position ON memberships (position);
CREATE TABLE stripped_states (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (room_nid, user_nid)
);
CREATE TABLE redactions (
    target_id TEXT NOT NULL,
    redaction_nid INTEGER NOT NULL,
    applied BOOLEAN NOT NULL,
    PRIMARY KEY (target_id, redaction_nid)
);

-- Federation.
CREATE TABLE staged_events (
    room_nid INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    origin_nid INTEGER NOT NULL,
    json BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (room_nid, event_id)
);
CREATE TABLE outbox (
    server_nid INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_nid INTEGER,
    edu BLOB,
    PRIMARY KEY (server_nid, position)
);
CREATE INDEX outbox_by_position ON outbox (position);
CREATE TABLE destinations (
    server_nid INTEGER PRIMARY KEY,
    txn_last INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    retry_at_ms INTEGER NOT NULL
);
CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    PRIMARY KEY (server_name, key_id)
);
