"""The examples of docs/clients.md, as they are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from checks import SECONDS, check, equal, run

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
BLOCKS = re.findall(r"^```(sh|python|js)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
# Node looks for packages beside the script that imports them.
FOLDER = Path(os.environ["CLIENTS_FOLDER"]) / "node"


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


def output(command, text):
    done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=3 * SECONDS, cwd=FOLDER)
    assert done.returncode == 0, done.stderr[-300:] or done.stdout[-300:]
    return done.stdout


def shell(text):
    return output(["sh", "-eu"], text)


def python(text):
    return output([sys.executable, "-"], text)


def node(text):
    return output(["node", "--input-type=module", "-"], text)


@check
def the_examples_with_curl_run():
    waited, watched = blocks("sh")
    assert '"status":"completed"' in shell(waited)
    assert "event: agent_completed" in shell(watched)


@check
def the_examples_in_python_run():
    asked, resumed, signed = blocks("python")
    equal(python(asked).splitlines(), ["Pay 90 back for order A-7?", "completed 90"])
    equal(python(resumed).splitlines()[-1], "completed")
    names = {}
    exec(signed, names)
    # printf '1700000000.{"type":"run.ended"}' | openssl dgst -sha256 -hmac 'at least 16 characters'
    signature = "v1=0bb32123efe03e62068e4ba7c89a9a4b9c03d0da8553f3c949219fe68422d90b"
    headers = {"Insula-Timestamp": "1700000000", "Insula-Signature": signature}
    assert names["is_ours"]("at least 16 characters", headers, b'{"type":"run.ended"}')
    assert not names["is_ours"]("at least 16 characters", headers, b'{"type":"run.begun"}')


@check
def the_examples_in_javascript_run():
    streamed, cancelled = blocks("js")
    equal(node(streamed).splitlines()[-1], "completed")
    equal(node(cancelled).splitlines()[-1], "agent_cancelled")


run()
