-- Waiting rows cost a shadow nothing: whoever stores what a row waits for makes it due, as with live rows.

-- Rows whose wait was over before the writer knew of this.
UPDATE shadow_interventions i SET not_before = i.due_at
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE i.supplier_id = s.id AND i.status = 'scheduled' AND i.not_before > i.due_at
    AND (i.metadata ->> 'waiting' = 'health' AND h.seq >= i.seq
        OR i.metadata ->> 'waiting' = 'address' AND s.email <> '');

-- Which logs a shadow has read, by topic: one that was made anew is read from its beginning.
ALTER TABLE shadow_policies ADD COLUMN topic_ids JSONB NOT NULL DEFAULT '{}';
