import subprocess
import sys

ROOMS = "core.data.register, core.data.rows, core.data.split, core.data.order, core.data.mixture"
HEAVY = {"torch", "transformers", "pydantic", "sqlalchemy", "fastapi", "celery", "jinja2", "tokenizers",
         "pyarrow", "zstandard"}


def test_rooms_that_read_rows_bring_nothing_heavy_along():
    program = f"import sys, {ROOMS}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not HEAVY & set(done.stdout.split())
