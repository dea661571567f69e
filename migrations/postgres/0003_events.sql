-- Events as small as they can be. The twin in ../sqlite has the same tables and columns.

-- An event with its JSON, as every reader of events wants it.
CREATE VIEW stored_events AS
SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate, e.outbound, e.snapshot_nid,
    e.redacted_by, j.json
FROM events e JOIN event_json j ON j.event_nid = e.event_nid;
