-- Events as small as they can be. The twin in ../postgres has the same tables and columns.

-- Edges are looked up by both ends and hold nothing else: each is its own index.
ALTER TABLE event_edges RENAME TO event_edges_1;
CREATE TABLE event_edges (
    event_nid INTEGER NOT NULL,
    prev_nid INTEGER NOT NULL,
    PRIMARY KEY (event_nid, prev_nid)
) WITHOUT ROWID;
INSERT INTO event_edges (event_nid, prev_nid) SELECT event_nid, prev_nid FROM event_edges_1;
DROP TABLE event_edges_1;
CREATE INDEX event_edges_by_prev ON event_edges (prev_nid);
ALTER TABLE event_auth RENAME TO event_auth_1;
CREATE TABLE event_auth (
    event_nid INTEGER NOT NULL,
    auth_nid INTEGER NOT NULL,
    PRIMARY KEY (event_nid, auth_nid)
) WITHOUT ROWID;
INSERT INTO event_auth (event_nid, auth_nid) SELECT event_nid, auth_nid FROM event_auth_1;
DROP TABLE event_auth_1;

-- A transaction names its event by local id; none for to-device messages.
ALTER TABLE client_transactions ADD COLUMN event_nid INTEGER;
UPDATE client_transactions SET event_nid =
    (SELECT e.event_nid FROM events e WHERE e.event_id = client_transactions.event_id);
DROP INDEX client_transactions_by_event;
ALTER TABLE client_transactions DROP COLUMN event_id;
CREATE INDEX client_transactions_by_event ON client_transactions (event_nid);

-- An event with its JSON, as every reader of events wants it.
CREATE VIEW stored_events AS
SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate, e.outbound, e.snapshot_nid,
    e.redacted_by, j.json
FROM events e JOIN event_json j ON j.event_nid = e.event_nid;
