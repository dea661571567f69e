-- Unread and highlight counts. The twin in ../sqlite has the same tables and columns.

-- Events that count for those with the rules that most people have: `by_class` says for which class
-- of people, and how. `thread` is the event id of the root, or `main`.
CREATE TABLE counted_events (
    room_nid BIGINT NOT NULL,
    event_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    sender_nid BIGINT NOT NULL,
    thread TEXT NOT NULL,
    by_class BIGINT NOT NULL,
    PRIMARY KEY (room_nid, event_nid)
);
-- For whom an event counts otherwise than for their class (`by_class`, as above; 0 where it counts
-- for none): `outcome` is 0 for not at all, 1 for unread, 2 for highlighted.
CREATE TABLE counted_otherwise (
    room_nid BIGINT NOT NULL,
    user_nid BIGINT NOT NULL,
    event_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    thread TEXT NOT NULL,
    by_class BIGINT NOT NULL,
    outcome BIGINT NOT NULL,
    PRIMARY KEY (room_nid, user_nid, event_nid)
);
-- Up to where people of ours have read: a thread, or everything where `thread` is empty. Who joins
-- has read everything before.
CREATE TABLE read_marks (
    room_nid BIGINT NOT NULL,
    user_nid BIGINT NOT NULL,
    thread TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room_nid, user_nid, thread)
);
-- Since when a person is of a class: in one room, or where `room_nid` is 0 in all others.
CREATE TABLE push_classes (
    user_nid BIGINT NOT NULL,
    room_nid BIGINT NOT NULL,
    position BIGINT NOT NULL,
    class BIGINT NOT NULL,
    PRIMARY KEY (user_nid, room_nid, position)
);
