-- Agents keep messages from a supplier, and let them go again.

-- name: hold
-- Nothing comes back where they are held already, or are not known.
INSERT INTO supplier_holds (supplier_id, held_at, held_by, note)
SELECT s.id, %(at)s, %(by)s, %(note)s FROM suppliers s WHERE s.id = %(supplier)s
ON CONFLICT (supplier_id) DO NOTHING
RETURNING supplier_id

-- name: release
DELETE FROM supplier_holds WHERE supplier_id = %(supplier)s RETURNING supplier_id

-- name: find
SELECT held_at, held_by, note FROM supplier_holds WHERE supplier_id = %(supplier)s

-- name: lock
-- Delivery holds this lock while it decides: a hold that has committed stops every later message.
SELECT id FROM suppliers WHERE id = %(supplier)s FOR NO KEY UPDATE
