-- Everything that is stored of one supplier. Which tables that are is asked of the catalogue, so that none is forgotten.

-- name: tables
-- Tables that name their supplier.
SELECT c.relname::text, a.attname::text
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND (a.attname = 'supplier_id' OR (c.relname = 'suppliers' AND a.attname = 'id'))
ORDER BY 1

-- name: foreign_keys
-- Foreign keys of one column: (table, column, what it refers to, that one's column).
SELECT c.conrelid::regclass::text, child.attname::text, c.confrelid::regclass::text, parent.attname::text
FROM pg_constraint c
JOIN pg_attribute child ON child.attrelid = c.conrelid AND child.attnum = c.conkey[1]
JOIN pg_attribute parent ON parent.attrelid = c.confrelid AND parent.attnum = c.confkey[1]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.connamespace = 'public'::regnamespace
ORDER BY 1, 2

-- name: outbox
-- Events about them, published or not yet.
SELECT jsonb_build_object('topic', topic, 'created_at', created_at, 'published_at', published_at,
    'event', convert_from(value, 'UTF8')::jsonb)
FROM outbox WHERE key = %(supplier)s::text ORDER BY id
