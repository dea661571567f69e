-- Tables of every message that are looked up by their whole key are their own index. The twin in ../postgres has
-- the same tables and columns.
DROP INDEX client_transactions_by_event;
DROP INDEX client_transactions_of_messages;
ALTER TABLE client_transactions RENAME TO client_transactions_1;
CREATE TABLE client_transactions (
    user_nid INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    room_nid INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    event_nid INTEGER,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_nid, device_id, room_nid, endpoint, txn_id)
) WITHOUT ROWID;
INSERT INTO client_transactions (user_nid, device_id, room_nid, endpoint, txn_id, event_nid, created_at_ms)
SELECT user_nid, device_id, room_nid, endpoint, txn_id, event_nid, created_at_ms FROM client_transactions_1;
DROP TABLE client_transactions_1;
CREATE INDEX client_transactions_by_event ON client_transactions (event_nid);
CREATE INDEX client_transactions_of_messages ON client_transactions (created_at_ms) WHERE event_nid IS NULL;

ALTER TABLE forward_extremities RENAME TO forward_extremities_1;
CREATE TABLE forward_extremities (
    room_nid INTEGER NOT NULL,
    event_nid INTEGER NOT NULL,
    PRIMARY KEY (room_nid, event_nid)
) WITHOUT ROWID;
INSERT INTO forward_extremities (room_nid, event_nid) SELECT room_nid, event_nid FROM forward_extremities_1;
DROP TABLE forward_extremities_1;
