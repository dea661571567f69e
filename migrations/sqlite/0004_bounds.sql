-- What keeps tables small needs to know how old a position is. The twin in ../postgres has the same
-- tables and columns.
CREATE TABLE log_times (
    position INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL
);
CREATE INDEX client_transactions_of_messages ON client_transactions (created_at_ms) WHERE event_nid IS NULL;
CREATE INDEX state_changes_by_key ON state_changes (room_nid, state_key_nid, position);
