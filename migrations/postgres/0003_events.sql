-- Events as small as they can be. The twin in ../sqlite has the same tables and columns.

-- A transaction names its event by local id; none for to-device messages.
ALTER TABLE client_transactions ADD COLUMN event_nid BIGINT;
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
