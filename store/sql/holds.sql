-- Agents keep messages from a supplier, and let them go again.

-- name: hold
-- Nothing comes back where they are held already, or are not known. A hold that has ended gives way.
INSERT INTO supplier_holds (supplier_id, held_at, held_by, note, until)
SELECT s.id, %(at)s, %(by)s, %(note)s, %(until)s FROM suppliers s WHERE s.id = %(supplier)s
ON CONFLICT (supplier_id) DO UPDATE
SET held_at = excluded.held_at, held_by = excluded.held_by, note = excluded.note, until = excluded.until
WHERE supplier_holds.until <= excluded.held_at
RETURNING supplier_id

-- name: release
DELETE FROM supplier_holds WHERE supplier_id = %(supplier)s AND until > %(at)s RETURNING supplier_id

-- name: find
SELECT held_at, held_by, note, until FROM supplier_holds WHERE supplier_id = %(supplier)s AND until > %(at)s

-- name: lock
-- Delivery holds this lock while it decides: a hold that has committed stops every later message.
SELECT id FROM suppliers WHERE id = %(supplier)s FOR NO KEY UPDATE
