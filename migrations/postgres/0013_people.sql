-- Who is found, who is told of a changed profile, and keys that are issued once. The twin in ../sqlite has the same
-- columns.

-- Whether everybody may enter a room or read it: not known yet of rooms that were there before.
ALTER TABLE rooms ADD COLUMN open BOOLEAN;
CREATE INDEX rooms_not_looked_at ON rooms (room_nid) WHERE open IS NULL;

CREATE INDEX profiles_by_position ON profiles (position);

-- One-time keys that were issued are remembered for a while.
ALTER TABLE one_time_keys ADD COLUMN issued BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX one_time_keys_in_order;
CREATE INDEX one_time_keys_in_order ON one_time_keys (user_nid, device_id, algorithm, ordinal, key_id)
    WHERE NOT issued;
