"""Interventions and what becomes of them: rows, claims, outcomes, feedback, shadow decisions."""
