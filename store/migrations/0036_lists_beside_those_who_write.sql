-- statement by statement
-- What 0033 reads, built beside those who write; the index for typing errors is `success migrate`'s (store/migrate.py).
DROP INDEX CONCURRENTLY IF EXISTS idx_suppliers_said;
CREATE INDEX CONCURRENTLY idx_suppliers_said ON suppliers
    USING gin (to_tsvector('simple'::regconfig, success_said_of(business_name, first_name, email)));
DROP INDEX CONCURRENTLY IF EXISTS idx_suppliers_name_prefix;
CREATE INDEX CONCURRENTLY idx_suppliers_name_prefix ON suppliers(success_fold(business_name) text_pattern_ops);
DROP INDEX CONCURRENTLY IF EXISTS idx_suppliers_words;
DROP INDEX CONCURRENTLY IF EXISTS idx_suppliers_business_prefix;
CALL success_describe_standings();
DROP INDEX CONCURRENTLY IF EXISTS idx_standings_name;
CREATE INDEX CONCURRENTLY idx_standings_name ON supplier_standings(name, supplier_id);
DROP INDEX CONCURRENTLY IF EXISTS idx_standings_since;
CREATE INDEX CONCURRENTLY idx_standings_since ON supplier_standings(since, supplier_id);
DROP INDEX CONCURRENTLY IF EXISTS idx_standings_plan;
CREATE INDEX CONCURRENTLY idx_standings_plan ON supplier_standings(plan, weight, supplier_id);
DROP INDEX CONCURRENTLY IF EXISTS idx_standings_trade;
CREATE INDEX CONCURRENTLY idx_standings_trade ON supplier_standings(trade, weight, supplier_id);
