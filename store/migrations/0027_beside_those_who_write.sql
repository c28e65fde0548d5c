-- statement by statement
-- What takes long on large tables, done beside those who write. What retention reads:
DROP INDEX CONCURRENTLY IF EXISTS idx_audit_log_at;
CREATE INDEX CONCURRENTLY idx_audit_log_at ON audit_log(at);
-- Newcomers, of those who were counted before 0023.
CALL success_recount_in_parts();
