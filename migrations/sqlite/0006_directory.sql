-- Names of rooms, the directory, what relates to what, who forgot which room, and reports. The twin in
-- ../postgres has the same tables and columns.
CREATE TABLE room_aliases (
    alias TEXT PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    creator_nid INTEGER NOT NULL
);
CREATE INDEX room_aliases_by_room ON room_aliases (room_nid);

-- What the directory shows of a public room, kept up to date by the room's own commits.
CREATE TABLE published_rooms (
    room_nid INTEGER PRIMARY KEY,
    joined_members INTEGER NOT NULL,
    summary BLOB NOT NULL,
    words TEXT NOT NULL
);
CREATE INDEX published_rooms_in_order ON published_rooms (joined_members, room_nid);

ALTER TABLE memberships ADD COLUMN forgotten BOOLEAN NOT NULL DEFAULT FALSE;

-- Events that name another in `m.relates_to`: only these have rows.
CREATE TABLE event_relations (
    event_nid INTEGER PRIMARY KEY,
    room_nid INTEGER NOT NULL,
    target_id TEXT NOT NULL,
    rel_type TEXT NOT NULL,
    depth INTEGER NOT NULL
);
CREATE INDEX event_relations_by_target ON event_relations (target_id, rel_type, depth, event_nid);

-- The newest event of each thread.
CREATE TABLE threads (
    room_nid INTEGER NOT NULL,
    root_id TEXT NOT NULL,
    latest_depth INTEGER NOT NULL,
    latest_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, root_id)
);
CREATE INDEX threads_in_order ON threads (room_nid, latest_depth, latest_nid);

-- What people report to the administrators.
CREATE TABLE reports (
    report_nid INTEGER PRIMARY KEY,
    reporter_nid INTEGER NOT NULL,
    room_nid INTEGER,
    event_nid INTEGER,
    reported_user TEXT,
    reason TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL
);
CREATE INDEX reports_by_reporter ON reports (reporter_nid, report_nid);
