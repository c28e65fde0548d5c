-- Drafts of the configuration, one an editor.

-- name: one
SELECT files, settings, changed_at FROM config_drafts WHERE author = %(author)s

-- name: keep
INSERT INTO config_drafts (author, files, settings, changed_at)
VALUES (%(author)s, %(files)s, %(settings)s, %(at)s)
ON CONFLICT (author) DO UPDATE SET files = excluded.files, settings = excluded.settings, changed_at = excluded.changed_at

-- name: forget
DELETE FROM config_drafts WHERE author = %(author)s

-- name: authors
SELECT author, changed_at FROM config_drafts ORDER BY changed_at DESC
