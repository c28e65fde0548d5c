"""Compiles the hot path with Cython when a wheel is built with HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 (`make compiled`).

The modules are compiled as they are, without a line written for the compiler, and a wheel without them does the same,
slower (docs/performance.md). An ordinary build, editable or not, never comes here.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = (
    "agents.fold",
    "scoring.activity",
    "scoring.causes",
    "scoring.churn",
    "scoring.conditions",
    "scoring.health",
    "scoring.identity",
    "scoring.machine",
    "scoring.metrics",
    "scoring.silence",
    "scoring.time",
    "topics.decoding",
    "topics.encoding",
    "topics.time",
)
"""What an event passes through, from its bytes to the flush."""


class CompiledCore(BuildHookInterface[Any]):
    """Adds an extension module beside each of `MODULES`; Python prefers it to the source next to it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel say for which Python and machine it is."""
        del version
        from Cython.Build import cythonize  # noqa: PLC0415 - there only when this hook is enabled
        from setuptools import Distribution, Extension  # noqa: PLC0415
        from setuptools.command.build_ext import build_ext  # noqa: PLC0415

        self._made = TemporaryDirectory(prefix="success-compiled-")
        made = self._made.name
        sources = {name: f"{name.replace('.', '/')}.py" for name in MODULES}
        extensions = cythonize(
            [Extension(name, [source], extra_compile_args=["-O3"]) for name, source in sources.items()],
            build_dir=made,
            compiler_directives={"language_level": 3, "annotation_typing": False},
        )
        build = build_ext(Distribution({"ext_modules": extensions}))
        build.build_lib, build.build_temp, build.parallel = f"{made}/lib", made, True
        build.ensure_finalized()
        build.run()
        for output in build.get_outputs():
            build_data["force_include"][output] = str(Path(output).relative_to(f"{made}/lib"))
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled, now that the wheel has it; after a failure the end of the process does."""
        del version, build_data, artifact_path
        self._made.cleanup()
