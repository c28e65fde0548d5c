-- Who reads a page behind a link.

-- name: find
SELECT locale, nullif(timezone, ''), first_name, business_name FROM suppliers WHERE id = %(supplier)s
