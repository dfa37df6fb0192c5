"""Import structlog without rich.

structlog imports rich wherever it is installed, for tracebacks that toolkit draws
plainly; that is a third of a lean service's start. A process which imported rich or
structlog before toolkit keeps what it has.
"""

import sys

if "rich" not in sys.modules and "structlog" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment] # makes `import rich` raise ImportError
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
