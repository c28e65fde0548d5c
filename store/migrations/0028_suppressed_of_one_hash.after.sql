-- Services before 0016 asked for one hash; all others ask for several.
DROP FUNCTION success_suppressed(BYTEA);
