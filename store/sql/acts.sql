-- What a supplier may do only so often.

-- name: lock
-- One act of a kind at a time a supplier, until the transaction ends: two must not both be the last one.
SELECT pg_advisory_xact_lock(hashtextextended(%(supplier)s || ' ' || %(kind)s, 0))

-- name: forget
-- What no longer counts.
DELETE FROM supplier_acts WHERE supplier_id = %(supplier)s AND kind = %(kind)s AND at <= %(since)s

-- name: at_limit
-- The act that must be forgotten before there can be another.
SELECT at FROM supplier_acts WHERE supplier_id = %(supplier)s AND kind = %(kind)s AND at > %(since)s
ORDER BY at DESC OFFSET %(most)s - 1 LIMIT 1

-- name: add
INSERT INTO supplier_acts (supplier_id, kind, at) VALUES (%(supplier)s, %(kind)s, %(at)s)
