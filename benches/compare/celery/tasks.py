"""What people write at home: a task that runs a zip from the store in a container, and keeps its result and its output."""

import io
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import boto3
import docker
from botocore.config import Config
from celery import Celery
from celery.signals import worker_process_init

PROFILE = json.loads(os.environ["BENCH_PROFILE"])
RUN = """\
import json, os, sys
sys.path[:0] = ["/backtest", "/backtest/vendor"]
import backtest
print(json.dumps(backtest.main(os.environ["ID"], json.load(open("/backtest/config.json")))))
"""

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend="rpc://")
app.conf.update(
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
engine = store = None


@worker_process_init.connect
def connect(**_):
    global engine, store
    engine = docker.from_env().api
    store = boto3.client(
        "s3",
        endpoint_url=os.environ["BENCH_STORE"],
        aws_access_key_id=os.environ["BENCH_ACCESS_KEY"],
        aws_secret_access_key=os.environ["BENCH_SECRET_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )


def run_in_container(job, folder):
    mount = {"Type": "bind", "Source": folder, "Target": "/backtest", "ReadOnly": True}
    body = PROFILE | {
        "Cmd": ["python", "-u", "/backtest/run.py"],
        "Env": [f"ID={job['id']}"],
        "Labels": {"bench": job["id"]},
        "HostConfig": PROFILE["HostConfig"] | {"Mounts": [mount]},
    }
    container = engine.create_container_from_config(body, name=job["id"])["Id"]
    try:
        engine.start(container)
        code = engine.wait(container)["StatusCode"]
        return code, engine.logs(container)
    finally:
        engine.remove_container(container, force=True, v=True)


@app.task(name="bench.run")
def run(job):
    folder = tempfile.mkdtemp(dir=os.environ["BENCH_FOLDER"])
    try:
        code = store.get_object(Bucket=os.environ["BENCH_CODE_BUCKET"], Key=job["file_path"])["Body"].read()
        zipfile.ZipFile(io.BytesIO(code)).extractall(folder)
        Path(folder, "config.json").write_text(json.dumps(job["config"]))
        Path(folder, "run.py").write_text(RUN)
        os.chmod(folder, 0o755)
        status, output = run_in_container(job, folder)
    finally:
        shutil.rmtree(folder)
    store.put_object(Bucket=os.environ["BENCH_LOGS_BUCKET"], Key=f"logs/{job['id']}/output.log", Body=output)
    if status != 0:
        raise RuntimeError(f"exit code {status}: {output.decode(errors='replace')}")
    result = json.loads(output.splitlines()[-1])
    store.put_object(Bucket=os.environ["BENCH_RESULTS_BUCKET"], Key=f"{job['id']}/result.json", Body=json.dumps(result))
    return result
