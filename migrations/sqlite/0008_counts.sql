-- Unread and highlight counts. The twin in ../postgres has the same tables and columns.

-- Events that count for those with the rules that most people have: `by_class` says for which class
-- of people, and how. `thread` is the event id of the root, or `main`.
CREATE TABLE counted_events (
    room_nid INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sender_nid INTEGER NOT NULL,
    thread TEXT NOT NULL,
    by_class INTEGER NOT NULL,
    PRIMARY KEY (room_nid, event_nid)
) WITHOUT ROWID;
-- For whom an event counts otherwise than for their class (`by_class`, as above; 0 where it counts
-- for none): `outcome` is 0 for not at all, 1 for unread, 2 for highlighted.
CREATE TABLE counted_otherwise (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    position INTEGER NOT NULL,
    thread TEXT NOT NULL,
    by_class INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    PRIMARY KEY (room_nid, user_nid, event_nid)
) WITHOUT ROWID;
-- Up to where people of ours have read: a thread, or everything where `thread` is empty. Who joins
-- has read everything before.
CREATE TABLE read_marks (
    room_nid INTEGER NOT NULL,
    user_nid INTEGER NOT NULL,
    thread TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (room_nid, user_nid, thread)
) WITHOUT ROWID;
-- Since when a person is of a class: in one room, or where `room_nid` is 0 in all others.
CREATE TABLE push_classes (
    user_nid INTEGER NOT NULL,
    room_nid INTEGER NOT NULL,
    position INTEGER NOT NULL,
    class INTEGER NOT NULL,
    PRIMARY KEY (user_nid, room_nid, position)
) WITHOUT ROWID;
