-- Accounts of people who did not register. The twin in ../postgres has the same column.
ALTER TABLE accounts ADD COLUMN guest BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX accounts_of_guests ON accounts (user_nid) WHERE guest;
