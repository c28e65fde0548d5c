-- statement by statement
-- Lists of one level by score: without it they are looked for along all bands, among everybody (docs/dashboard.md).
DROP INDEX CONCURRENTLY IF EXISTS idx_standings_level_band;
CREATE INDEX CONCURRENTLY idx_standings_level_band ON supplier_standings(level, band);
