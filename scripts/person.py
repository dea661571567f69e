"""A person with an account on one of the servers of two-servers.sh, for the scripts beside this one."""

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse

DEADLINE_SECONDS = 30


class Person:
    """Made with hearthctl, logged in over the client-server API. Not for several threads."""

    def __init__(self, localpart, name, which):
        """`which` is ONE or TWO."""
        config = os.environ[f"HEARTH_E2E_CONFIG_{which}"]
        self.base = os.environ[f"HEARTH_E2E_{which}"]
        made = subprocess.run(
            [f"target/{os.environ.get('PROFILE', 'debug')}/hearthctl", "--config", config, "--json",
             "user", "create", localpart, "--display-name", name],
            stdout=subprocess.PIPE, text=True)
        answer = json.loads(made.stdout)
        if made.returncode:
            sys.exit(f"hearthctl could not make {localpart}: {answer['error']}")
        self.user_id, self.password = answer["user_id"], answer["password"]
        self.localpart, self.server = localpart, self.user_id.split(":", 1)[1]
        self.connection, self.token = None, None
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": localpart},
            "password": self.password,
        }
        self.token = self.ask("POST", "/login", login)["access_token"]

    def ask(self, method, path, body=None):
        """One request; the connection is kept. The name under .localhost is for browsers: here the
        connection goes to loopback itself."""
        url = urllib.parse.urlsplit(self.base)
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=DEADLINE_SECONDS)
        headers = {"Host": url.netloc, "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.connection.request(
            method, f"/_matrix/client/v3{path}", None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path} was answered with {answer.status}: {text.decode()}")
        return json.loads(text)

    def create_room(self, name, *invited):
        return self.ask("POST", "/createRoom", {
            "name": name, "preset": "private_chat", "invite": [person.user_id for person in invited],
        })["room_id"]

    def join(self, room_id, via):
        self.ask("POST", f"/join/{quote(room_id)}?server_name={quote(via)}", {})

    def say(self, room_id, text, txn_id):
        self.ask("PUT", f"/rooms/{quote(room_id)}/send/m.room.message/{txn_id}",
                 {"msgtype": "m.text", "body": text})

    def wait_for(self, room_id, text):
        """Until a message of that text has arrived here."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            chunk = self.ask("GET", f"/rooms/{quote(room_id)}/messages?dir=b&limit=50")["chunk"]
            if any(event.get("content", {}).get("body") == text for event in chunk):
                return
            time.sleep(0.02)
        sys.exit(f"{self.user_id} did not receive {text!r} within {DEADLINE_SECONDS} s")


def quote(text):
    return urllib.parse.quote(text, safe="")
