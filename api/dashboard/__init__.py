"""The dashboard for agents: server-rendered pages under `/dashboard`. docs/dashboard.md is its guide."""

from __future__ import annotations

from fastapi import APIRouter

from api.dashboard import acts, assets, login, messages, population, supplier, system, today

router = APIRouter(tags=["dashboard"])
for _part in (assets, login, today, population, supplier, acts, messages, system):
    router.include_router(_part.router)
