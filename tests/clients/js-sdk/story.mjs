// Two people with two devices each, on two servers that federate, with matrix-js-sdk and its Rust
// cryptography: a client that is not ours. Runs inside scripts/two-servers.sh. Each chapter asserts
// what the people see.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { ClientEvent, createClient, MatrixEventEvent, RoomEvent } from "matrix-js-sdk";
import {
    CryptoEvent,
    VerificationPhase,
    VerificationRequestEvent,
    VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";

const DEADLINE_MS = 30_000;
const SAS = "m.sas.v1";

// The library is made for Node 22; this is all that it needs of it.
Promise.withResolvers ??= () => {
    const made = {};
    made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
    return made;
};

// Before keys are backed up, the library waits up to ten seconds at random; all that it needs to be secret
// comes from elsewhere.
Math.random = () => 0.03;

// What the library has to say goes unheard, unless it is asked for.
const { log, error } = console;
if (!process.env.VERBOSE) {
    for (const level of ["trace", "debug", "log", "info", "warn", "error"]) console[level] = () => {};
}

/** Waits for what `find` gives, as soon as it gives something. */
async function until(find, what) {
    const end = Date.now() + DEADLINE_MS;
    for (;;) {
        const found = await find();
        if (found) return found;
        assert(Date.now() < end, `waited ${DEADLINE_MS / 1000} s for ${what}`);
        await new Promise((done) => setTimeout(done, 50));
    }
}

/** The address of a server; its name under .localhost is for browsers. */
function base(which) {
    return `http://127.0.0.1:${new URL(process.env[`HEARTH_E2E_${which}`]).port}`;
}

/** An account, and the key that opens its secret storage: what a person remembers. */
class Person {
    constructor(name, which) {
        this.localpart = `${name}${randomBytes(3).toString("hex")}`;
        this.password = randomBytes(12).toString("base64url");
        this.baseUrl = base(which);
        this.secretStorage = null;
    }

    async register() {
        const client = createClient({ baseUrl: this.baseUrl });
        const made = await client.registerRequest({
            username: this.localpart,
            password: this.password,
            auth: { type: "m.login.dummy" },
            initial_device_display_name: "First",
        });
        this.userId = made.user_id;
        return new Device(this, made).start();
    }

    async signIn(name) {
        const client = createClient({ baseUrl: this.baseUrl });
        const made = await client.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: this.localpart },
            password: this.password,
            initial_device_display_name: name,
        });
        return new Device(this, made).start();
    }
}

/** A device that is signed in, and what it sees. */
class Device {
    static all = [];

    constructor(person, session) {
        this.person = person;
        this.id = session.device_id;
        this.requests = [];
        this.client = createClient({
            baseUrl: person.baseUrl,
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => {
                    const known = person.secretStorage;
                    return known && keys[known.keyId] ? [known.keyId, known.privateKey] : null;
                },
                cacheSecretStorageKey: (keyId, _info, privateKey) => {
                    person.secretStorage = { keyId, privateKey };
                },
            },
        });
        Device.all.push(this);
    }

    get crypto() {
        return this.client.getCrypto();
    }

    async start() {
        await this.client.initRustCrypto({ useIndexedDB: false });
        this.client.on(CryptoEvent.VerificationRequestReceived, (request) => this.requests.push(request));
        const synced = new Promise((done) => {
            this.client.on(ClientEvent.Sync, (state) => state === "PREPARED" && done());
        });
        await this.client.startClient({ initialSyncLimit: 5 });
        await synced;
        return this;
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    async say(roomId, body) {
        return (await this.client.sendTextMessage(roomId, body)).event_id;
    }

    /** The event, decrypted. */
    async hears(roomId, eventId, body) {
        const event = await until(
            () => this.room(roomId)?.findEventById(eventId),
            `${this.person.userId} (${this.id}) to see ${JSON.stringify(body)}`,
        );
        await until(
            () => event.getContent().body === body,
            `${this.id} to read ${JSON.stringify(body)}: it has ${JSON.stringify(event.getClearContent() ?? event.getWireContent())}`,
        );
        assert.equal(event.getWireType(), "m.room.encrypted");
        return event;
    }

    /** A verification that another device asked for. */
    async request() {
        return until(() => this.requests.shift(), `${this.id} to be asked to verify`);
    }
}

async function meet(alice, bob) {
    const { room_id: roomId } = await alice.client.createRoom({
        name: "Allotments",
        invite: [bob.person.userId],
        initial_state: [
            { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
        ],
    });
    await until(() => bob.room(roomId)?.getMyMembership() === "invite", "the invitation");
    await bob.client.joinRoom(roomId);
    for (const device of [alice, bob]) {
        await until(() => device.room(roomId)?.getJoinedMemberCount() === 2, "both people in the room");
        await until(() => device.crypto.isEncryptionEnabledInRoom(roomId), "the room to be encrypted");
    }
    return roomId;
}

async function talk(from, to, roomId, body) {
    const eventId = await from.say(roomId, body);
    for (const device of [from, ...to]) await device.hears(roomId, eventId, body);
    return eventId;
}

/** Cross-signing, secret storage and a key backup, as a person sets them up on the first device. */
async function setUp(device) {
    await device.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (ask) => ask(null) });
    await device.crypto.bootstrapSecretStorage({
        createSecretStorageKey: () => device.crypto.createRecoveryKeyFromPassphrase(),
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
    assert(await device.crypto.isCrossSigningReady(), "cross-signing is ready");
    await until(() => device.crypto.isSecretStorageReady(), "secret storage to be ready");
    const made = await device.crypto.checkKeyBackupAndEnable();
    assert(made?.trustInfo.trusted, "the backup is trusted by the device that made it");
}

/** Compares emoji over to-device messages, to the end on both sides. */
async function compare(asking, asked, request) {
    const other = await asked.request();
    await other.accept();
    await until(() => request.phase === VerificationPhase.Ready, "the request to be accepted");
    const shown = [];
    const verify = (verifier) => {
        verifier.on(VerifierEvent.ShowSas, (sas) => {
            shown.push(sas);
            if (shown.length === 2) {
                assert.deepEqual(shown[0].sas.emoji, shown[1].sas.emoji);
                assert.equal(shown[0].sas.emoji.length, 7);
                shown.forEach((one) => void one.confirm());
            }
        });
        return verifier.verify();
    };
    const mine = verify(await request.startVerification(SAS));
    await until(() => other.verifier, "the verification to begin");
    await Promise.all([mine, verify(other.verifier)]);
    for (const one of [request, other]) {
        await until(() => one.phase === VerificationPhase.Done, "the verification to be done");
    }
}

async function verifyEachOther(alice, bob) {
    const request = await alice.crypto.requestDeviceVerification(bob.person.userId, bob.id);
    await compare(alice, bob, request);
    for (const [one, other] of [
        [alice, bob],
        [bob, alice],
    ]) {
        await until(
            async () =>
                (await one.crypto.getUserVerificationStatus(other.person.userId)).isCrossSigningVerified(),
            `${one.person.userId} to trust ${other.person.userId}`,
        );
    }
}

/** Waits until a device has the keys of another: the library ignores requests of devices that it does not know. */
async function knows(device, owner, id) {
    await until(async () => {
        const found = await device.crypto.getUserDeviceInfo([owner.userId], true);
        return found.get(owner.userId)?.has(id);
    }, `${device.id} to know ${id}`);
}

/** Whether a device takes another for one that its owner vouches for. */
async function trusts(device, other) {
    await until(async () => {
        await device.crypto.getUserDeviceInfo([other.person.userId], true);
        const status = await device.crypto.getDeviceVerificationStatus(other.person.userId, other.id);
        return status?.crossSigningVerified;
    }, `${device.id} to trust ${other.id}`);
}

/** Takes the cross-signing keys out of secret storage, as far as they are those that the server has. */
async function openSecrets(device) {
    assert(await device.crypto.userHasCrossSigningKeys(device.person.userId, true));
    await device.crypto.bootstrapCrossSigning({});
    assert(await device.crypto.isCrossSigningReady(), "the cross-signing keys are out of secret storage");
}

/** A new device has nothing but the key of secret storage; with it, it reads what was said before it came. */
async function restore(person, roomId, old) {
    const device = await person.signIn("Second");
    await openSecrets(device);
    await device.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const restored = await device.crypto.restoreKeyBackup();
    assert(
        restored.total >= 2 && restored.imported === restored.total,
        `restored: ${JSON.stringify(restored)}`,
    );
    await device.client.scrollback(await until(() => device.room(roomId), "the room"), 50);
    for (const [eventId, body] of old) await device.hears(roomId, eventId, body);
    const check = await device.crypto.checkKeyBackupAndEnable();
    assert(check?.trustInfo.trusted, "the new device trusts the backup");
    return device;
}

/** A new device that an old one of the same person verifies, and hands its secrets to. */
async function introduce(person, first) {
    const device = await person.signIn("Second");
    assert(!(await device.crypto.isCrossSigningReady()), "it has no secrets yet");
    await knows(first, person, device.id);
    const request = await device.crypto.requestDeviceVerification(person.userId, first.id);
    await compare(device, first, request);
    await until(async () => {
        const { privateKeysCachedLocally: keys } = await device.crypto.getCrossSigningStatus();
        return keys.masterKey && keys.selfSigningKey && keys.userSigningKey;
    }, "the secrets of the first device");
    return device;
}

/** A dehydrated device takes keys while its owner is signed out everywhere, and gives them to the next device. */
async function sleep(alice, devices, bob, roomId) {
    await alice.crypto.startDehydration();
    const { device_id: asleep } = await dehydrated(alice);
    await knows(bob, alice.person, asleep);
    for (const device of devices) {
        device.client.stopClient();
        await device.client.logout(true);
    }
    const body = "Are you asleep?";
    const eventId = await talk(bob, [], roomId, body);
    const next = await alice.person.signIn("Third");
    await openSecrets(next);
    await next.crypto.startDehydration();
    await next.client.scrollback(await until(() => next.room(roomId), "the room"), 20);
    await next.hears(roomId, eventId, body);
    assert.notEqual((await dehydrated(next)).device_id, asleep, "another one took its place");
    return next;
}

function dehydrated(device) {
    const prefix = "/_matrix/client/unstable/org.matrix.msc3814.v1";
    return device.client.http.authedRequest("GET", "/dehydrated_device", undefined, undefined, { prefix });
}

/** The newest version of the backup, as the server has it. */
function backup(device) {
    return device.client.http.authedRequest("GET", "/room_keys/version");
}

/** Resetting a backup makes another version, which gets the keys that the device has. */
async function resetBackup(device) {
    const before = await backup(device);
    await device.crypto.resetKeyBackup();
    const after = await backup(device);
    assert.notEqual(before.version, after.version);
    await until(async () => (await backup(device)).count > 0, "keys in the new version");
    await device.crypto.deleteKeyBackupVersion(after.version);
    await assert.rejects(backup(device), { errcode: "M_NOT_FOUND" });
}

async function story() {
    const [alice, bob] = [new Person("alice", "ONE"), new Person("bob", "TWO")];
    const [phone, tablet] = [await alice.register(), await bob.register()];
    await setUp(phone);
    await setUp(tablet);
    const roomId = await meet(phone, tablet);
    const old = [];
    const tell = async (from, to, body) => old.push([await talk(from, to, roomId, body), body]);
    await tell(phone, [tablet], "How are the beans?");
    await tell(tablet, [phone], "Knee-high.");
    await verifyEachOther(phone, tablet);
    await until(async () => (await backup(phone)).count >= 2, "the keys to be backed up");

    const laptop = await restore(alice, roomId, old);
    const desktop = await introduce(bob, tablet);
    await trusts(tablet, laptop);
    await trusts(phone, desktop);
    await tell(laptop, [phone, tablet, desktop], "From the laptop.");
    await tell(desktop, [phone, tablet, laptop], "From the desktop.");
    const exported = await phone.crypto.exportRoomKeysAsJson();
    await laptop.crypto.importRoomKeysAsJson(exported);

    const third = await sleep(phone, [phone, laptop], tablet, roomId);
    await tell(third, [tablet, desktop], "Awake again.");
    await resetBackup(third);
}

const begin = Date.now();
try {
    await story();
    log(`matrix-js-sdk: passed in ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    process.exit(0);
} catch (failure) {
    error(failure);
    process.exit(1);
}
