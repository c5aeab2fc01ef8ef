"""Start the sandbox: ``python -m airflow_provider_scenario.sandbox``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the sandbox until it is told to stop; gives the exit status."""
    try:
        import av  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        print(f"The sandbox needs {error.name}: install airflow-provider-scenario[sandbox].", file=sys.stderr)
        return 1
    from airflow_provider_scenario.sandbox.command import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
