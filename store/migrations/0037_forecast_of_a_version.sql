-- What a replay expected of a version before it went into force (runtime/forecast.py); null: nobody asked.
ALTER TABLE config_versions ADD COLUMN IF NOT EXISTS forecast JSONB;
