-- Up to where people have read. `thread` is empty for receipts of the whole room, `main`, or the id of
-- a thread's root. `live_position`, `depth` and `event_nid` say where the event stands in the order of
-- receipts; `kind` is 0 for m.read, 1 for m.read.private, 2 for m.fully_read; other servers are told of
-- what is `outbound`. The twin in ../sqlite has the same tables and columns.
CREATE TABLE receipts (
    room_nid BIGINT NOT NULL,
    user_nid BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    thread TEXT NOT NULL,
    live_position BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    event_nid BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    position BIGINT NOT NULL,
    outbound BOOLEAN NOT NULL,
    PRIMARY KEY (room_nid, user_nid, kind, thread)
);
CREATE INDEX receipts_by_position ON receipts (room_nid, position);
CREATE INDEX receipts_outbound ON receipts (position) WHERE outbound;
