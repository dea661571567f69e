#!/usr/bin/env python3
"""The story of `make demo`, told through the real APIs: two people on two servers and a room.

Runs inside two-servers.sh, prints where to look, and waits until it is stopped (or, with --once,
ends when the story is told).
"""

import sys
import threading

sys.dont_write_bytecode = True
from person import Person, quote  # noqa: E402


def tell():
    alice = Person("alice", "Alice", "ONE")
    bob = Person("bob", "Bob", "TWO")
    room_id = alice.create_room("Kitchen table", bob)
    bob.join(room_id, alice.server)
    alice.say(room_id, "Welcome, Bob! Is the kettle on?", "1")
    bob.wait_for(room_id, "Welcome, Bob! Is the kettle on?")
    bob.say(room_id, "It is. From here on we talk encrypted.", "1")
    alice.wait_for(room_id, "It is. From here on we talk encrypted.")
    alice.ask("PUT", f"/rooms/{quote(room_id)}/state/m.room.encryption/", {"algorithm": "m.megolm.v1.aes-sha2"})
    return alice, bob


def main():
    people = tell()
    print("\n  Two organizations are running and know each other:\n")
    for person in people:
        print(f"    {person.base}   sign in as {person.localpart}, password {person.password}")
    print("\n  Both are in the room \"Kitchen table\". Open the two addresses side by side and talk.")
    print("  Ctrl-C ends both servers and removes everything.\n", flush=True)
    if "--once" not in sys.argv:
        threading.Event().wait()


if __name__ == "__main__":
    main()
