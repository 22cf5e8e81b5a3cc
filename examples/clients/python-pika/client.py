"""A client of Longshore in Python: starts a job and waits for its result, or watches events.

    pip install -r requirements.txt
    python client.py start ../../ma-crossover/start.json
    python client.py watch ma-crossover-demo

AMQP_URL says where the broker is, AMQP_NAMESPACE what the names begin with.
"""

import argparse
import json
import os
import sys
import time
import uuid
from collections import deque

import pika
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker, NackError, UnroutableError

URL = os.environ.get("AMQP_URL", "amqp://longshore:longshore@127.0.0.1:5672/%2f")
NAMESPACE = os.environ.get("AMQP_NAMESPACE", "longshore")
WELL_ENDED = {"succeeded", "stopped"}


def main():
    parser = argparse.ArgumentParser(description="Starts Longshore jobs and watches them.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="publish a start message and wait for the result")
    start.add_argument("file", help="the start message, a JSON file")
    start.add_argument("--wait", type=float, default=300, metavar="S", help="seconds to wait; 0: do not (%(default)s)")
    watch = commands.add_parser("watch", help="print status and result events until interrupted")
    watch.add_argument("id", nargs="?", default="*", help="of this job only")
    arguments = parser.parse_args()
    message = read_message(arguments.file) if arguments.command == "start" else None
    try:
        with connect() as connection:
            if message is None:
                return watch_events(connection.channel(), arguments.id)
            return start_job(connection.channel(), message, arguments.wait)
    except KeyboardInterrupt:
        return 130
    except ChannelClosedByBroker as error:  # 404: there is no such exchange, for workers declare them
        return fail(f"the broker refused: {error.reply_text} (has a worker run in namespace {NAMESPACE}?)")
    except AMQPConnectionError as error:  # its text is often empty
        return fail(f"no connection to the broker: {error!r}")
    except AMQPError as error:
        return fail(f"the broker refused: {error!r}")


def connect():
    parameters = pika.URLParameters(URL)
    parameters.socket_timeout = 10
    parameters.stack_timeout = 15
    parameters.blocked_connection_timeout = 30
    return pika.BlockingConnection(parameters)


def read_message(path):
    try:
        with open(path, encoding="utf-8") as file:
            message = json.load(file)
        message["id"], message["is_long_running"]
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {path}: {error}")
    except (KeyError, TypeError):
        sys.exit(f"{path} is no start message: it has no id or no is_long_running")
    return message


def start_job(channel, message, wait):
    # Exclusive: the broker deletes it with this connection, and nobody else reads our replies.
    replies = channel.queue_declare("", exclusive=True).method.queue
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
        message_id=str(uuid.uuid4()),  # the run's identity: publish it again unchanged after a doubt
        correlation_id=str(uuid.uuid4()),
        reply_to=replies,
        timestamp=int(time.time()),  # lets a stop tell whether it came before or after
    )
    kind = "long-running" if message["is_long_running"] else "terminating"
    channel.confirm_delivery()  # from here on basic_publish waits for the broker's word
    try:
        channel.basic_publish(f"{NAMESPACE}.jobs", f"start.{kind}", json.dumps(message), properties, mandatory=True)
    except UnroutableError:
        return fail(f"no queue takes start.{kind} in namespace {NAMESPACE}: no worker has declared it yet")
    except NackError:
        return fail("the broker could not store the message; try again")
    note(f"published {message['id']} as message {properties.message_id}")
    if not wait:
        return 0

    deadline = time.monotonic() + wait
    for method, reply, body in channel.consume(replies, auto_ack=True, inactivity_timeout=1):
        if method and reply.correlation_id == properties.correlation_id:
            event = json.loads(body)
            print(json.dumps(event, indent=2, ensure_ascii=False))
            note(f"{event.get('subject')}: {event['data']['verdict']}")
            return 0 if event["data"]["verdict"] in WELL_ENDED else 1
        if time.monotonic() > deadline:
            return fail(f"no result within {wait:g} s; the job may still run: watch {message['id']}")


def watch_events(channel, job):
    events = channel.queue_declare("", exclusive=True).method.queue
    for exchange in ["status", "results"]:  # {state or verdict}.{entrypoint}.{id}
        channel.queue_bind(events, f"{NAMESPACE}.{exchange}", f"*.*.{job}")
    note("watching; interrupt to end")
    seen = deque(maxlen=1000)  # events come at least once, and a repeat has the same id
    for _, _, body in channel.consume(events, auto_ack=True):
        event = json.loads(body)
        if event["id"] not in seen:
            seen.append(event["id"])
            data = event["data"]
            what = data.get("verdict") if event["type"].startswith("longshore.job.result") else data.get("state")
            print(event["time"], event.get("subject"), what, data.get("message") or "", flush=True)


def note(text):
    print(text, file=sys.stderr)


def fail(text):
    note(text)
    return 1


if __name__ == "__main__":
    sys.exit(main())
