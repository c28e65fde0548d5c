"""A population in Postgres, made by Postgres: large enough that a wrong plan shows."""

from __future__ import annotations

from typing import Any

SUPPLIERS = 12_000
BATCH = 1_000
"""Suppliers of one statement: the triggers' work grows faster than the rows that a statement brings them."""
STATEMENTS = (
    """INSERT INTO suppliers (id, email, first_name, business_name, vendor_type, timezone, plan, signed_up_at)
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'supplier-' || n || '@example.com',
        (ARRAY['Sarah', 'Emma', 'Priya', 'Tom', 'Leo'])[1 + n %% 5],
        (ARRAY['Golden', 'Silver', 'Copper', 'Ivory', 'Rose'])[1 + n %% 5] || ' Weddings ' || n,
        CASE WHEN n %% 200 = 0 THEN 'florist' ELSE 'photographer' END,
        'Europe/London', (ARRAY['free', 'starter', 'professional', 'scale'])[1 + n %% 4],
        '2025-06-01Z'::timestamptz + n * interval '20 minutes'
    FROM generate_series(%(start)s::int, %(end)s::int) n""",
    """INSERT INTO customer_health (supplier_id, health_score, risk_level, churn_probability, seq, last_login, facts)
    SELECT id, score, CASE WHEN score < 40 THEN 'critical' WHEN score < 70 THEN 'at_risk' ELSE 'healthy' END,
        1 - score / 100.0, 3, '2026-01-10Z', jsonb_build_object('plan', plan, 'signed_up_at', signed_up_at)
    FROM (SELECT *, (hashtext(id::text) & 1023) %% 100 AS score FROM suppliers
        WHERE id BETWEEN %(first)s AND %(last)s) s""",
    """INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level)
    SELECT gen_random_uuid(), h.supplier_id, step,
        '2026-01-01Z'::timestamptz + step * interval '5 days'
            + (hashtext(h.supplier_id::text) & 65535) * interval '6 s',
        score, CASE WHEN score < 40 THEN 'critical' WHEN score < 70 THEN 'at_risk' ELSE 'healthy' END
    FROM customer_health h, generate_series(1, 3) step,
        LATERAL (SELECT CASE step WHEN 3 THEN h.health_score ELSE (h.health_score + step * 37) %% 100 END AS score) s
    WHERE h.supplier_id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO success_interventions (supplier_id, trigger_condition, intervention_type, template_used, status,
        reason, due_at, not_before, sent_at, opened_at, signal_id, signal_at, experiment, variant, metadata)
    SELECT id, t, 'email', t, status,
        CASE status WHEN 'suppressed' THEN (ARRAY['weekly_cap', 'healthy'])[1 + k %% 2] END,
        at, at, CASE status WHEN 'sent' THEN at END, CASE WHEN status = 'sent' AND x %% 3 = 0 THEN at END,
        gen_random_uuid(), at,
        CASE WHEN status <> 'scheduled' AND k = 1 THEN 'holdout' END,
        CASE WHEN status <> 'scheduled' AND k = 1 THEN 'treated' END, '{}'
    FROM suppliers s, generate_series(1, 4) k,
        LATERAL (SELECT hashtext(s.id::text || k) & 1023 AS x) h,
        LATERAL (SELECT (ARRAY['quick_win', 'we_miss_you', 'finish_setup', 'import_clients_guide'])[1 + x %% 4] AS t,
            CASE WHEN x < 40 THEN 'scheduled' WHEN x < 400 THEN 'suppressed' ELSE 'sent' END AS status,
            '2025-11-01Z'::timestamptz + x * interval '2 hours' + k * interval '7 minutes' AS at) r
    WHERE s.id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO message_words (intervention_id, at, subject, body)
    SELECT id, sent_at, 'A subject', repeat('Some words. ', 70) FROM success_interventions
    WHERE status = 'sent' AND supplier_id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at)
    SELECT id, 'first_form', signed_up_at FROM suppliers WHERE id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO support_interactions (supplier_id, interaction_type, status, scheduled_at, ends_at, completed_at)
    SELECT id, 'check_in', CASE WHEN n %% 10 = 0 THEN 'scheduled' ELSE 'completed' END, at, at + interval '15 minutes',
        CASE WHEN n %% 10 <> 0 THEN at END
    FROM suppliers, LATERAL (SELECT right(id::text, 12)::bigint AS n) numbered,
        LATERAL (SELECT '2025-09-01Z'::timestamptz + n * interval '20 minutes' AS at) t
    WHERE id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO support_interactions (supplier_id, interaction_type, status, weight, snoozed_until)
    SELECT supplier_id, 'churn_prevention', 'scheduled', weight,
        CASE WHEN hashtext(supplier_id::text) %% 10 = 0 THEN '2026-02-01Z'::timestamptz END
    FROM supplier_standings WHERE level = 'critical' AND hashtext(supplier_id::text) %% 3 = 0
        AND supplier_id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO supplier_owners (supplier_id, owner, since, by)
    SELECT id, CASE n %% 40 WHEN 0 THEN 'emma' ELSE 'agent ' || n %% 40 END, now(), 'tom'
    FROM suppliers, LATERAL (SELECT right(id::text, 12)::bigint AS n) numbered
    WHERE id BETWEEN %(first)s AND %(last)s AND n %% 3 = 0""",
    """INSERT INTO audit_log (at, actor, actor_role, action, supplier_id)
    SELECT now(), 'emma', 'agent', 'messages.held', id FROM suppliers WHERE id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO supplier_notes (id, supplier_id, at, noted_by, note)
    SELECT gen_random_uuid(), id, now(), 'emma', 'a note' FROM suppliers
    WHERE id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO supplier_holds (supplier_id, held_at, held_by) SELECT id, now(), 'emma' FROM suppliers
    WHERE id::text NOT LIKE '%%5' AND id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO supplier_tags (supplier_id, tag, at, tagged_by)
    SELECT id, tag, now(), 'emma'
    FROM suppliers, LATERAL (SELECT right(id::text, 12)::bigint AS n) numbered, unnest(ARRAY['spring', 'wave']) tag
    WHERE id BETWEEN %(first)s AND %(last)s AND n %% CASE tag WHEN 'spring' THEN 500 ELSE 10 END = 0""",
    """INSERT INTO outbox (topic, key, value, published_at)
    SELECT 'success.interventions', id::text, '{}', now() FROM suppliers WHERE id BETWEEN %(first)s AND %(last)s""",
)
"""For the suppliers from the one with the number `start` (id `first`) to `end` (`last`)."""
BESIDE = (
    """INSERT INTO list_views (id, agent, name, query, shared, at)
    SELECT gen_random_uuid(), 'agent ' || n, 'view', '', n % 100 = 0, now() FROM generate_series(1, 3000) n""",
    """INSERT INTO dead_letters_published (partition, position, stamp, at, published_by)
    SELECT n % 8, n, now(), now(), 'emma' FROM generate_series(1, 5000) n""",
)


def seed(conn: Any, suppliers: int = SUPPLIERS) -> None:
    """Fill a migrated database; the triggers keep standings and tallies as they would live."""
    for start in range(1, suppliers + 1, BATCH):
        end = min(start + BATCH - 1, suppliers)
        some = {"start": start, "end": end, "first": id_of(start), "last": id_of(end)}
        for statement in STATEMENTS:
            conn.execute(statement, some)
    for statement in BESIDE:
        conn.execute(statement)
    conn.execute("VACUUM ANALYZE")


def id_of(number: int) -> str:
    """The id of the supplier with this number, which ids are in the order of."""
    return f"00000000-0000-4000-8000-{number:012d}"
