#!/usr/bin/env python3
"""Two people with matrix-nio, a client that is not ours, on two servers that federate.

Runs inside scripts/two-servers.sh, once per room version. Each chapter asserts what the people see.
"""

import asyncio
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

import nio

DEADLINE_SECONDS = 30
ROOM_VERSIONS = ["11", "12"]
CIPHERTEXT_KEYS = {"algorithm", "ciphertext", "device_id", "sender_key", "session_id"}


class Server:
    """One of the two servers, by the variables that two-servers.sh sets."""

    def __init__(self, which):
        self.base = f"http://127.0.0.1:{os.environ[f'HEARTH_E2E_{which}'].rsplit(':', 1)[1]}"
        self.config = os.environ[f"HEARTH_E2E_CONFIG_{which}"]
        self.pid = int(os.environ[f"HEARTH_E2E_PID_{which}"])
        self.successor = None

    async def kill(self):
        """As a loss of power would: the process has no chance to tidy up."""
        os.kill(self.pid, signal.SIGKILL)
        if self.successor:
            self.successor.wait()
            self.successor = None
        await until(lambda: not is_alive(self.pid), f"process {self.pid} to be gone")

    def start(self):
        binary = f"target/{os.environ.get('PROFILE', 'debug')}/hearth"
        with open(self.config.removesuffix(".toml") + ".log", "a") as log:
            self.successor = subprocess.Popen([binary, "--config", self.config], stderr=log)
        self.pid = self.successor.pid

    def stored(self, texts):
        """Those of these texts that its database holds."""
        with open(self.config, "rb") as file:
            config = tomllib.load(file)
        folder = os.path.dirname(self.config)
        database = f"sqlite://{folder}/{config['server']['data_dir']}/hearth.db"
        database = config.get("database", {}).get("url", database)
        command = ["target/debug/examples/stored", database]
        run = subprocess.run(command, input="\n".join(texts), stdout=subprocess.PIPE, text=True, check=True)
        return run.stdout.splitlines()

    def stop_successor(self):
        if self.successor:
            self.successor.terminate()
            assert self.successor.wait(DEADLINE_SECONDS) == 0, "a server that is asked to stop ends with 0"


class Person:
    """An account, its device, and everything that syncing brought to it."""

    def __init__(self, name, server, store):
        self.server, self.store = server, store
        self.localpart, self.password = f"{name}{secrets.token_hex(3)}", secrets.token_urlsafe()
        self.client, self.events, self.to_device, self.left = None, [], [], {}
        self.whispered = []

    @classmethod
    def on_another_device(cls, person, store):
        """The same account; the device is made by logging in."""
        other = cls("", person.server, store)
        other.localpart, other.password, other.user_id = person.localpart, person.password, person.user_id
        os.makedirs(store)
        return other

    async def register(self):
        client = nio.AsyncClient(self.server.base)
        answer = await client.register(self.localpart, self.password)
        check(answer, nio.RegisterResponse)
        await client.logout()
        await client.close()
        self.user_id = answer.user_id

    async def log_in(self):
        # A request that fails is a failure of the story; the client must not hide it by trying again.
        config = nio.AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0)
        self.client = nio.AsyncClient(self.server.base, self.user_id, store_path=self.store, config=config)
        check(await self.client.login(self.password, device_name="nio"), nio.LoginResponse)
        self.client.add_event_callback(lambda room, event: self.events.append((room.room_id, event)), nio.Event)
        self.client.add_to_device_callback(self.to_device.append, nio.ToDeviceEvent)
        await self.keep_keys()

    async def open_again(self):
        """As after a restart of the client: the same device and store, and `since` from last time."""
        old = self.client
        await old.close()
        self.client = nio.AsyncClient(self.server.base, self.user_id, store_path=self.store, config=old.config)
        self.client.restore_login(self.user_id, old.device_id, old.access_token)
        self.client.next_batch = old.next_batch
        self.client.rooms = old.rooms
        self.events.clear()
        self.client.add_event_callback(lambda room, event: self.events.append((room.room_id, event)), nio.Event)

    async def without_keys(self, ask):
        """The answer as the server gives it: this client has nothing to decrypt it with."""
        client = nio.AsyncClient(self.server.base, config=nio.AsyncClientConfig(encryption_enabled=False))
        client.access_token = self.client.access_token
        try:
            return await ask(client)
        finally:
            await client.close()

    async def keep_keys(self):
        if self.client.should_upload_keys:
            check(await self.client.keys_upload(), nio.KeysUploadResponse)
        if self.client.should_query_keys:
            check(await self.client.keys_query(), nio.KeysQueryResponse)

    async def sync(self, timeout_ms=1000):
        answer = check(await self.client.sync(timeout=timeout_ms), nio.SyncResponse)
        self.left.update(answer.rooms.leave)
        await self.keep_keys()
        return answer

    async def sync_until(self, condition, what):
        """What `condition` gives, as soon as it gives something."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < end, f"{self.user_id} waited {DEADLINE_SECONDS} s for {what}"
            await self.sync()
        return found

    async def say(self, room_id, text):
        if self.client.rooms[room_id].encrypted:
            self.whispered.append(text)
        answer = await self.client.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})
        return check(answer, nio.RoomSendResponse).event_id

    def messages(self, room_id, text):
        return [event for room, event in self.events
                if room == room_id and isinstance(event, nio.RoomMessageText) and event.body == text]

    async def hears(self, room_id, text, is_encrypted=False):
        event = (await self.sync_until(lambda: self.messages(room_id, text), repr(text)))[0]
        assert event.decrypted == is_encrypted, f"{text!r}: decrypted is {event.decrypted}"
        return event

    def device_of(self, other):
        """What is known here of the device of somebody: its keys are those that it has."""
        device = self.client.device_store[other.user_id][other.client.device_id]
        assert device.ed25519 == other.client.olm.account.identity_keys["ed25519"]
        assert device.curve25519 == other.client.olm.account.identity_keys["curve25519"]
        return device

    async def sync_and_answer(self):
        """One more sync, and what the client has to say to other devices after it."""
        await self.sync(0)
        for answer in await self.client.send_to_device_messages():
            check(answer, nio.ToDeviceResponse)


def check(answer, kind):
    assert isinstance(answer, kind), f"expected {kind.__name__}, got {answer}"
    return answer


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


async def until(condition, what):
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE_SECONDS} s for {what}"
        await asyncio.sleep(0.05)


async def meet(alice, bob, room_version):
    """Alice makes a room, invites Bob over federation, he joins; both see each other in it."""
    made = await alice.client.room_create(name="Allotments", room_version=room_version, invite=[bob.user_id])
    room_id = check(made, nio.RoomCreateResponse).room_id
    invited = await bob.sync_until(lambda: bob.client.invited_rooms.get(room_id), "the invitation")
    assert (invited.inviter, invited.name) == (alice.user_id, "Allotments"), invited
    check(await bob.client.join(room_id), nio.JoinResponse)
    both = {alice.user_id, bob.user_id}
    for person in (alice, bob):
        await person.sync_until(lambda: room_id in person.client.rooms, "the room")
        await person.sync_until(lambda: set(person.client.rooms[room_id].users) == both, "both people in the room")
        room = person.client.rooms[room_id]
        assert (room.name, room.room_version) == ("Allotments", room_version), room
    return room_id


async def wait_in_sync(alice, bob, room_id):
    """A /sync that has nothing to tell waits, and is answered when something happens."""
    while True:
        waiting = asyncio.create_task(bob.sync(DEADLINE_SECONDS * 1000))
        await asyncio.sleep(0.5)
        if not waiting.done():
            break
        assert tells(waiting.result()), "there was nothing to tell"
    begin = time.monotonic()
    await alice.say(room_id, "Wake up, Bob.")
    told = await waiting
    # That Alice is there is told apart from what she says, and may come first.
    while not told.rooms.join:
        assert tells(told), "there was nothing to tell"
        told = await bob.sync(DEADLINE_SECONDS * 1000)
    assert [event.body for event in told.rooms.join[room_id].timeline.events] == ["Wake up, Bob."]
    assert time.monotonic() - begin < DEADLINE_SECONDS / 2, "it came when it happened, not when time was up"


def tells(told):
    """Whether a /sync tells anything. That somebody is online, or has another device, comes when their server says so."""
    lists = told.device_list
    others = [told.presence_events, told.to_device_events, told.account_data_events, lists.changed, lists.left]
    return told.rooms.join or any(others)


async def talk(alice, bob, room_id):
    await alice.say(room_id, "How are the beans?")
    heard = await bob.hears(room_id, "How are the beans?")
    assert heard.sender == alice.user_id
    await bob.say(room_id, "Knee-high.")
    heard = await alice.hears(room_id, "Knee-high.")
    assert heard.sender == bob.user_id


async def redact(alice, bob, room_id):
    """What Alice takes back is gone on Bob's server too."""
    event_id = await alice.say(room_id, "My door code is 4711.")
    await bob.hears(room_id, "My door code is 4711.")
    check(await alice.client.room_redact(room_id, event_id, "a mistake"), nio.RoomRedactResponse)
    await bob.sync_until(lambda: any(isinstance(event, nio.RedactionEvent) and event.redacts == event_id
                                     for _, event in bob.events), "the redaction")
    for person in (alice, bob):
        answer = check(await person.client.room_get_event(room_id, event_id), nio.RoomGetEventResponse)
        assert isinstance(answer.event, nio.RedactedEvent), answer.event
        assert "4711" not in str(answer.event.source)


async def send_to_device(alice, bob):
    message = nio.ToDeviceMessage("test.ping", bob.user_id, bob.client.device_id, {"round": 1})
    check(await alice.client.to_device(message), nio.ToDeviceResponse)
    await bob.sync_until(lambda: bob.to_device, "a message to the device")
    [event] = bob.to_device
    assert (event.type, event.sender, event.source["content"]) == ("test.ping", alice.user_id, {"round": 1})
    await bob.sync(0)
    assert len(bob.to_device) == 1, "it is handed over once"
    bob.to_device.clear()


async def compare_emoji(alice, bob):
    """The short authentication string, over messages from device to device."""
    check(await alice.client.start_key_verification(alice.device_of(bob)), nio.ToDeviceResponse)
    verification = await bob.sync_until(lambda: next(iter(bob.client.key_verifications), None), "the verification")
    check(await bob.client.accept_key_verification(verification), nio.ToDeviceResponse)
    people = (alice, bob)
    sides = [person.client.key_verifications[verification] for person in people]
    await exchange(people, lambda: all(side.established_sas for side in sides), "both keys")
    assert sides[0].get_emoji() == sides[1].get_emoji() and len(sides[0].get_emoji()) == 7
    for person in people:
        check(await person.client.confirm_short_auth_string(verification), nio.ToDeviceResponse)
    await exchange(people, lambda: all(side.verified for side in sides), "both to be verified")
    assert alice.device_of(bob).verified and bob.device_of(alice).verified


async def exchange(people, condition, what):
    """Lets both sides answer each other until the condition holds."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE_SECONDS} s for {what}"
        for person in people:
            await person.sync_and_answer()
        await asyncio.sleep(0.02)


async def whisper(alice, bob, room_id):
    """Encryption with keys that the two servers exchanged, between devices that verified each other."""
    answer = await alice.client.room_put_state(room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    check(answer, nio.RoomPutStateResponse)
    for person, other in ((alice, bob), (bob, alice)):
        await person.sync_until(lambda: person.client.rooms[room_id].encrypted, "the room to be encrypted")
        await person.keep_keys()
        assert not person.device_of(other).verified
    await compare_emoji(alice, bob)
    event_id = await alice.say(room_id, "The spare key is under the pot.")
    heard = await bob.hears(room_id, "The spare key is under the pot.", is_encrypted=True)
    assert (heard.event_id, heard.verified) == (event_id, True)
    await bob.say(room_id, "Which pot?")
    heard = await alice.hears(room_id, "Which pot?", is_encrypted=True)
    assert heard.verified
    stored = await bob.without_keys(lambda client: client.room_get_event(room_id, event_id))
    assert isinstance(stored.event, nio.MegolmEvent), stored.event
    assert set(stored.event.source["content"]) <= CIPHERTEXT_KEYS, stored.event.source


async def confide(alice, bob, store):
    """A room that is encrypted from the beginning. Whoever imports the keys reads what was said in it."""
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    made = await alice.client.room_create(name="Shed", invite=[bob.user_id], initial_state=[encryption])
    room_id = check(made, nio.RoomCreateResponse).room_id
    await bob.sync_until(lambda: room_id in bob.client.invited_rooms, "the invitation")
    check(await bob.client.join(room_id), nio.JoinResponse)
    for person in (alice, bob):
        await person.sync_until(lambda: room_id in person.client.rooms, "the room")
        await person.sync_until(lambda: len(person.client.rooms[room_id].users) == 2, "both people in the room")
        assert person.client.rooms[room_id].encrypted
        await person.keep_keys()
    await alice.say(room_id, "The rake is yours.")
    event = await bob.hears(room_id, "The rake is yours.", is_encrypted=True)
    keys = f"{store}/keys"
    await bob.client.export_keys(keys, "a passphrase")

    other = Person.on_another_device(bob, f"{store}/other")
    try:
        await other.log_in()
        await other.sync_until(lambda: room_id in other.client.rooms, "the room")
        found = check(await other.client.room_get_event(room_id, event.event_id), nio.RoomGetEventResponse).event
        assert isinstance(found, nio.MegolmEvent), "a new device has no key"
        found.room_id = room_id
        await other.client.import_keys(keys, "a passphrase")
        assert other.client.decrypt_event(found).body == "The rake is yours."
    finally:
        await other.client.logout()
        await other.client.close()


async def survive(alice, bob, room_id):
    """Bob's server dies; what is said meanwhile comes after `since`, once and in order."""
    last = await bob.say(room_id, "Back in a minute.")
    await alice.hears(room_id, "Back in a minute.", is_encrypted=True)
    await bob.sync_until(lambda: any(event.event_id == last for _, event in bob.events), "his own message")
    await bob.server.kill()
    said = [f"While you were away, {number}" for number in range(3)]
    for text in said:
        await alice.say(room_id, text)
    bob.server.start()
    await bob.open_again()
    await until_it_answers(bob)
    await bob.hears(room_id, said[-1], is_encrypted=True)
    assert [event.body for room, event in bob.events if room == room_id] == said
    await bob.say(room_id, "All there.")
    await alice.hears(room_id, "All there.", is_encrypted=True)


async def until_it_answers(person):
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return check(await person.client.whoami(), nio.WhoamiResponse)
        except (OSError, asyncio.TimeoutError):
            assert time.monotonic() < end, f"{person.server.base} does not answer"
            await asyncio.sleep(0.1)


async def history(alice, bob, room_id):
    """Both servers tell the same story in the same order; Bob's may begin where he came in."""
    told = []
    for person in (alice, bob):
        ids, token = [], ""
        while True:
            answer = await person.client.room_messages(room_id, token, direction=nio.MessageDirection.front, limit=7)
            page = check(answer, nio.RoomMessagesResponse)
            ids += [event.event_id for event in page.chunk]
            if not page.chunk or not page.end:
                break
            token = page.end
        assert len(ids) == len(set(ids)), "no event twice"
        told.append(ids)
    assert len(told[1]) > 10 and told[0][-len(told[1]):] == told[1], told


async def part(alice, bob, room_id):
    check(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
    await alice.sync_until(lambda: set(alice.client.rooms[room_id].users) == {alice.user_id}, "Bob to be gone")
    await bob.sync_until(lambda: room_id in bob.left, "the room to be left")
    refused = await bob.client.room_put_state(room_id, "m.room.topic", {"topic": "Mine now"})
    assert isinstance(refused, nio.RoomPutStateError) and refused.status_code == "M_FORBIDDEN", refused


async def decline(alice, bob, room_id):
    check(await alice.client.room_invite(room_id, bob.user_id), nio.RoomInviteResponse)
    bob.left.clear()
    await bob.sync_until(lambda: room_id in bob.client.invited_rooms, "the second invitation")
    check(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
    await bob.sync_until(lambda: room_id in bob.left, "the invitation to be gone")
    assert bob.left[room_id].timeline.events[-1].membership == "leave"
    await alice.sync_until(lambda: bob.user_id not in alice.client.rooms[room_id].invited_users, "the answer")


def keep_to_themselves(people):
    """No database holds what was said in encrypted rooms, nor what opens an account. All have it by now."""
    private = [text for person in people for text in person.whispered]
    assert len(private) > 5, private
    private += [secret for person in people for secret in (person.password, person.client.access_token)]
    for person in people:
        found = person.server.stored(["Knee-high.", *private])
        assert found == ["Knee-high."], f"{person.server.config}: {found} is stored"


async def story(room_version, servers, store):
    people = [Person(name, server, store) for name, server in zip(("alice", "bob"), servers)]
    alice, bob = people
    try:
        for person in people:
            await person.register()
            await person.log_in()
            await person.sync(0)
        room_id = await meet(alice, bob, room_version)
        await talk(alice, bob, room_id)
        await wait_in_sync(alice, bob, room_id)
        await redact(alice, bob, room_id)
        await send_to_device(alice, bob)
        await whisper(alice, bob, room_id)
        await confide(alice, bob, store)
        await survive(alice, bob, room_id)
        await history(alice, bob, room_id)
        keep_to_themselves(people)
        await part(alice, bob, room_id)
        await decline(alice, bob, room_id)
    finally:
        for person in people:
            if person.client:
                await person.client.close()


def main():
    logging.getLogger("nio").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers = [Server("ONE"), Server("TWO")]
    try:
        for room_version in ROOM_VERSIONS:
            begin = time.monotonic()
            with tempfile.TemporaryDirectory() as store:
                asyncio.run(story(room_version, servers, store))
            print(f"matrix-nio, room version {room_version}: passed in {time.monotonic() - begin:.1f} s", flush=True)
    finally:
        for server in servers:
            server.stop_successor()


if __name__ == "__main__":
    main()
