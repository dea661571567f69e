-- What was told on each connection of sliding sync, so that clients go on where they were after a
-- restart. The twin in ../sqlite has the same table and columns.
CREATE TABLE sliding_connections (
    user_nid BIGINT NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    conn_id TEXT COLLATE "C" NOT NULL,
    content BYTEA NOT NULL,
    used_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_nid, device_id, conn_id)
);
CREATE INDEX sliding_connections_by_use ON sliding_connections (used_at_ms);
