-- Up to where people have read. `thread` is empty for receipts of the whole room, `main`, or the id of
-- a thread's root. `live_position`, `depth` and `event_nid` say where the event stands in the order of
-- receipts; `kind` is 0 for m.read, 1 for m.read.private, 2 for m.fully_read; other servers are told of
-- what is `outbound`. The twin in ../postgres has the same tables and columns.
CREATE TABLE receipts (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    thread TEXT NOT NULL,
    live_position INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    position INTEGER NOT NULL,
    outbound BOOLEAN NOT NULL,
    PRIMARY KEY (room_nid, user_nid, kind, thread)
) WITHOUT ROWID;
CREATE INDEX receipts_by_position ON receipts (room_nid, position);
CREATE INDEX receipts_outbound ON receipts (position) WHERE outbound;
