#!/usr/bin/env python3
"""Measures two servers from outside: how fast messages are acknowledged, alone and many at once, and
how long one takes to the other server. Runs inside two-servers.sh.
"""

import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True
from person import Person  # noqa: E402

ALONE = 200
SENDERS = 16
EACH = 100
ACROSS = 30


def timed(action):
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


def report(what, milliseconds):
    milliseconds = sorted(milliseconds)
    p50 = statistics.median(milliseconds)
    p99 = milliseconds[min(len(milliseconds) - 1, len(milliseconds) * 99 // 100)]
    print(f"  {what:42} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms", flush=True)


def alone(alice):
    room_id = alice.create_room("alone")
    report(f"{ALONE} messages, one after the other",
           [timed(lambda: alice.say(room_id, "x", number)) for number in range(ALONE)])


def at_once():
    people = [Person(f"sender{number}", f"Sender {number}", "ONE") for number in range(SENDERS)]
    rooms = [person.create_room("at once") for person in people]
    times = []

    def send(person, room_id):
        own = [timed(lambda: person.say(room_id, "x", number)) for number in range(EACH)]
        times.extend(own)

    threads = [threading.Thread(target=send, args=pair) for pair in zip(people, rooms)]
    total = timed(lambda: [thread.start() for thread in threads] and [thread.join() for thread in threads])
    report(f"{SENDERS} senders, a room each", times)
    print(f"  {'':42} {len(times) / total * 1000:12.0f} messages/s", flush=True)


def across(alice):
    bob = Person("bob", "Bob", "TWO")
    room_id = alice.create_room("across", bob)
    bob.join(room_id, alice.server)

    def there(number):
        alice.say(room_id, f"number {number}", f"across{number}")
        bob.wait_for(room_id, f"number {number}")

    report("until the other server has it (polled)", [timed(lambda: there(number)) for number in range(ACROSS)])


def main():
    alice = Person("alice", "Alice", "ONE")
    alone(alice)
    at_once()
    across(alice)


if __name__ == "__main__":
    main()
