-- Long deltas lie in chunks that are written before a snapshot refers to them, so that no commit is
-- large. The length of a chain is counted when it is read: merging in the background shortens it.
ALTER TABLE state_snapshots DROP COLUMN hops;
ALTER TABLE state_snapshots ADD COLUMN chunks_nid BIGINT;
ALTER TABLE state_snapshots ADD COLUMN chunks BIGINT NOT NULL DEFAULT 0;
CREATE INDEX state_snapshots_by_base ON state_snapshots (base_nid) WHERE base_nid IS NOT NULL;
CREATE INDEX state_snapshots_by_chunks ON state_snapshots (chunks_nid) WHERE chunks_nid IS NOT NULL;
CREATE TABLE state_chunks (
    chunks_nid BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    delta BYTEA NOT NULL,
    PRIMARY KEY (chunks_nid, ordinal)
);

-- Events whose state another server stated, since the events before them are not here.
CREATE TABLE provisional_states (
    event_nid BIGINT PRIMARY KEY,
    room_nid BIGINT NOT NULL
);
CREATE INDEX provisional_states_by_room ON provisional_states (room_nid);
