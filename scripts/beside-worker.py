#!/usr/bin/env python3
"""Runs a command beside a real worker in a namespace of its own, and removes what both leave on the servers.

    scripts/beside-worker.py COMMAND...

The command gets the worker's settings in its environment. Its jobs' ids must begin with $AMQP_NAMESPACE. This needs
the services of the local stack, boto3, and a built worker (WORKER_BINARY, by default target/debug/longshore).
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import quote, urlsplit

import boto3

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 90
AMQP_URL = os.environ.get("AMQP_URL", "amqp://longshore:longshore@127.0.0.1:5672/%2f")
MANAGEMENT_URL = os.environ.get("LONGSHORE_TEST_MANAGEMENT_URL", "http://127.0.0.1:15672")


def settings(namespace, folder):
    """The worker's settings: short intervals, and nothing left in the machine's own directories."""
    return {
        "AMQP_URL": AMQP_URL,
        "AMQP_NAMESPACE": namespace,
        "MINIO_ENDPOINT": os.environ.get("MINIO_ENDPOINT", "127.0.0.1:8333"),
        "MINIO_ACCESS_KEY": os.environ.get("MINIO_ACCESS_KEY", "longshore"),
        "MINIO_SECRET_KEY": os.environ.get("MINIO_SECRET_KEY", "longshore-secret"),
        "TEMP_DIR": f"{folder}/runtime",
        "LOG_SPOOL_DIR": f"{folder}/spool",
        "LOG_INTERVAL_SECONDS": "1",
        "BOT_MEMORY_LIMIT_MB": "512",
        "WARM_CONTAINERS": "1",
        "RETRY_DELAYS_SECONDS": "1,2",
        "STOP_TIMEOUT_SECONDS": "5",
        "DRAIN_GRACE_SECONDS": "5",
        "SEGMENT_GRACE_SECONDS": "60",
        "HTTP_LISTEN": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        "WORKER_NAME": f"{namespace}-worker",
    }


def wait_until_ready(worker, log):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and worker.poll() is None:
        found = re.search(r'"http\.address":\s*"([^"]+)"', log.read_text())
        try:
            if found and urllib.request.urlopen(f"http://{found[1]}/readyz", timeout=5).status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"the worker was not ready within {PATIENCE_SECONDS} s:\n{log.read_text()[-4000:]}")


def management(method, path):
    user = urlsplit(AMQP_URL)
    request = urllib.request.Request(f"{MANAGEMENT_URL}/api/{path}", method=method)
    token = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def clean_up(namespace, env):
    for what in ["queues", "exchanges"]:
        for found in management("GET", f"{what}/%2f?columns=name"):
            if found["name"].startswith(f"{namespace}."):
                management("DELETE", f"{what}/%2f/{quote(found['name'], safe='')}")
    store = boto3.resource(
        "s3",
        endpoint_url=f"http://{env['MINIO_ENDPOINT']}",
        aws_access_key_id=env["MINIO_ACCESS_KEY"],
        aws_secret_access_key=env["MINIO_SECRET_KEY"],
        region_name="us-east-1",
    )
    for bucket, prefix in [("longshore-state", f"{namespace}/"), ("inputs", f"{namespace}/"), ("test-results", namespace),
                           ("bot-logs", f"logs/{namespace}")]:
        for found in store.Bucket(bucket).objects.filter(Prefix=prefix):
            found.delete()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    namespace = f"c-{uuid.uuid4().hex[:10]}"
    program = os.environ.get("WORKER_BINARY", str(ROOT / "target/debug/longshore"))
    with tempfile.TemporaryDirectory(prefix=namespace) as folder:
        env, log = settings(namespace, folder), Path(folder) / "worker.log"
        os.mkdir(env["TEMP_DIR"])
        kept = {name: os.environ[name] for name in ["PATH", "DOCKER_HOST"] if name in os.environ}
        with log.open("w") as output:
            worker = subprocess.Popen([program, "worker"], env={**kept, **env}, cwd=folder, stdout=output, stderr=output)
        code = 1
        try:
            wait_until_ready(worker, log)
            client = {name: value for name, value in env.items() if name.startswith(("AMQP_", "MINIO_"))}
            code = subprocess.call(sys.argv[1:], env={**os.environ, **client})
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
            if code:
                print(f"the end of the worker's log:\n{log.read_text()[-6000:]}", file=sys.stderr)
            clean_up(namespace, env)
    sys.exit(code)


if __name__ == "__main__":
    main()
