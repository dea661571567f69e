-- Tables of every message that are looked up by their whole key are their own index. PostgreSQL has no such tables,
-- so that its twin of ../sqlite changes nothing.
SELECT 1;
