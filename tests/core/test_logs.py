from __future__ import annotations

import json
import select
import subprocess
import sys


def lines(program: str) -> list[dict]:
    """Run a program that logs; give what it wrote on standard error, line by line."""
    head = "import logging; from core.logs import *; configure_logs('info', queue='train'); log = get_log('x')\n"
    done = subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_a_json_object_with_a_name_and_fields() -> None:
    (line,) = lines("log.info('run.claimed', job_id='ftjob-1', attempt=2)")
    assert (line["event"], line["job_id"], line["attempt"], line["level"], line["queue"]) == (
        "run.claimed", "ftjob-1", 2, "info", "train")


def test_libraries_speak_the_same_way() -> None:
    (line,) = lines("logging.getLogger('some.library').warning('disk %s is slow', 'sda')")
    assert (line["event"], line["level"]) == ("disk sda is slow", "warning")


def test_less_than_the_asked_level_is_left_out() -> None:
    assert lines("log.debug('noise')") == []


def test_a_value_forges_no_line_and_fills_no_page() -> None:
    (line,) = lines("log.info('row.read', text='a\\nb' + 'x' * 10_000)")
    assert line["text"].startswith("a\nb")
    assert len(line["text"]) < 600


def test_a_traceback_is_one_field() -> None:
    (line,) = lines("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('run.fault')")
    assert "ZeroDivisionError" in line["exception"]


def test_a_standard_error_that_nobody_reads_keeps_nobody_waiting() -> None:
    program = ("from core.logs import *; configure_logs('info'); log = get_log('x')\n"
               "for number in range(20_000): log.info('step.done', text='x' * 100)\n"
               "print('done', flush=True)")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], 30)[0]
    finally:
        process.kill()
        process.communicate()
