import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { freshName, launch, newPage, ONE, picture } from "./browser.mjs";
import { api, createRoom, invite, message, send, sentMessage, signIn, signOut, signUp } from "./steps.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("a message in an encrypted room is still there after a reload", async () => {
  const { page, assertClean } = await newPage(browser, ONE);
  await signUp(page, freshName("alice"));
  await picture(page, "home");
  const roomId = await createRoom(page, "Garden committee");
  await send(page, "The seeds have arrived.");
  await sentMessage(page, "The seeds have arrived.").waitFor();

  await page.reload();
  await message(page, "The seeds have arrived.").waitFor();
  const { chunk } = await api(page, `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`);
  assert.equal(chunk.filter(({ type }) => type === "m.room.encrypted").length, 1);
  assert.equal(chunk.filter(({ type }) => type === "m.room.message").length, 0);
  await picture(page, "room");
  assertClean();
});

test("the keyboard is enough: new room, two messages, walking through them", async () => {
  const { page, assertClean } = await newPage(browser, ONE);
  await signUp(page, freshName("kim"));
  await page.getByRole("navigation", { name: "Rooms" }).getByRole("button", { name: "New room" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type("Typing pool");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Typing pool" }).waitFor();
  await page.keyboard.type("first line");
  await page.keyboard.press("Enter");
  await page.keyboard.type("second line");
  await page.keyboard.press("Enter");
  await sentMessage(page, "second line").waitFor();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("ArrowUp");
  await page.locator("article:focus", { hasText: "second line" }).waitFor();
  await page.keyboard.press("ArrowUp");
  await page.locator("article:focus", { hasText: "first line" }).waitFor();
  await page.keyboard.press("End");
  await page.locator("article:focus", { hasText: "second line" }).waitFor();
  assertClean();
});

test("keys reach the account: device keys and a cross-signing identity", async () => {
  const { page, assertClean } = await newPage(browser, ONE);
  const { userId, deviceId } = await signUp(page, freshName("keys"));
  let keys;
  for (let attempt = 0; attempt < 40; attempt += 1) {
    keys = await page.evaluate(
      async ([id, token]) => {
        const response = await fetch("/_matrix/client/v3/keys/query", {
          method: "POST",
          headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
          body: JSON.stringify({ device_keys: { [id]: [] } }),
        });
        return response.json();
      },
      [userId, JSON.parse(await page.evaluate(() => localStorage.getItem("hearth.session"))).accessToken],
    );
    const signatures = keys.device_keys?.[userId]?.[deviceId]?.signatures?.[userId] ?? {};
    if (Object.keys(signatures).length === 2) break;
    await page.waitForTimeout(250);
  }
  assert.ok(keys.master_keys[userId], "master key");
  assert.ok(keys.self_signing_keys[userId], "self-signing key");
  assert.ok(keys.user_signing_keys[userId], "user-signing key");
  assert.equal(Object.keys(keys.device_keys[userId][deviceId].signatures[userId]).length, 2);
  assertClean();
});

test("signing out ends the session, signing in starts another; a wrong password is told apart", async () => {
  const { page, assertClean } = await newPage(browser, ONE);
  const name = freshName("carol");
  const first = await signUp(page, name);
  await createRoom(page, "Diary");
  await send(page, "before");
  await sentMessage(page, "before").waitFor();
  await signOut(page);
  assert.equal(await page.evaluate(() => localStorage.getItem("hearth.session")), null);

  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Password", { exact: true }).fill("not the password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The name and password do not match.").waitFor();
  await picture(page, "login-refused");

  const second = await signIn(page, name);
  assert.notEqual(second.deviceId, first.deviceId);
  await page.getByRole("link", { name: /Diary/ }).click();
  await page.getByText("Sent before you signed in on this device", { exact: false }).first().waitFor();
  await picture(page, "undecryptable");
  assertClean();
});

test("one tab at a time uses the keys; another one can take over", async () => {
  const { page, context, assertClean } = await newPage(browser, ONE);
  await signUp(page, freshName("tabs"));
  await createRoom(page, "Tabs");
  const second = await context.newPage();
  await second.goto("/");
  await second.getByRole("heading", { name: "Hearth is open in another tab" }).waitFor();
  await second.getByRole("button", { name: "Use it here" }).click();
  await second.getByRole("link", { name: /Tabs/ }).click();
  await page.getByRole("heading", { name: "Hearth is open in another tab" }).waitFor();
  await send(second, "from the second tab");
  await sentMessage(second, "from the second tab").waitFor();
  assertClean();
});

test("a message that cannot be sent says so, and can be sent again or deleted", async () => {
  const { page, context, assertClean } = await newPage(browser, ONE);
  await signUp(page, freshName("dora"));
  await createRoom(page, "Signal box");
  await send(page, "first");
  await sentMessage(page, "first").waitFor();

  await context.route("**/_matrix/**", (route) => route.abort("internetdisconnected"));
  await send(page, "kept");
  await send(page, "dropped");
  await message(page, "kept").getByText("Not sent").waitFor();
  await message(page, "dropped").getByText("Not sent").waitFor();
  await page.getByText("Connection lost").waitFor({ timeout: 60_000 });
  await picture(page, "offline");
  await context.unroute("**/_matrix/**");
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText("Connected again").waitFor();

  await message(page, "dropped").getByRole("button", { name: "Delete" }).click();
  await message(page, "dropped").waitFor({ state: "detached" });
  await message(page, "kept").getByRole("button", { name: "Try again" }).click();
  await sentMessage(page, "kept").waitFor();
  await page.reload();
  await message(page, "kept").waitFor();
  assert.equal(await message(page, "dropped").count(), 0);
  assertClean();
});

test("without an answer from the server, what is known from last time is shown", async () => {
  const { page, context, assertClean } = await newPage(browser, ONE);
  await signUp(page, freshName("otto"));
  await createRoom(page, "Lighthouse");
  await send(page, "still burning");
  await sentMessage(page, "still burning").waitFor();
  await page.reload();
  await message(page, "still burning").waitFor();

  await context.route("**/_matrix/**", (route) => route.abort("connectionrefused"));
  await page.reload();
  await page.getByText("Connection lost").waitFor();
  await message(page, "still burning").waitFor();
  await context.unroute("**/_matrix/**");
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText("Connected again").waitFor();
  await send(page, "and burning");
  await sentMessage(page, "and burning").waitFor();
  assertClean();
});

test("earlier messages come as one scrolls up, and the place is kept", async () => {
  const writer = await newPage(browser, ONE);
  const name = freshName("eve");
  await signUp(writer.page, name);
  const roomId = await createRoom(writer.page, "Long story");
  await writer.page.evaluate(async (id) => {
    const { accessToken } = JSON.parse(localStorage.getItem("hearth.session"));
    for (let n = 1; n <= 120; n += 1) {
      await fetch(`/_matrix/client/v3/rooms/${encodeURIComponent(id)}/send/m.room.message/t${n}`, {
        method: "PUT",
        headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
        body: JSON.stringify({ msgtype: "m.text", body: `Chapter ${n}` }),
      });
    }
  }, roomId);

  const { page, assertClean } = await newPage(browser, ONE);
  await signIn(page, name);
  await page.getByRole("link", { name: /Long story/ }).click();
  await message(page, "Chapter 120").waitFor();
  assert.equal(await message(page, "Chapter 1").count(), 0);
  const scroller = page.getByRole("group", { name: /^Messages in/ });
  const drift = await scroller.evaluate(driftWhileLoading);
  assert.ok(drift.grewBy > 0, "an earlier page was loaded");
  assert.ok(drift.movedBy <= 3, `the message one looks at moved by ${drift.movedBy} px`);

  await scroller.hover();
  for (let turn = 0; turn < 60 && (await message(page, "Chapter 1").count()) === 0; turn += 1) {
    await page.mouse.wheel(0, -700);
    await page.waitForTimeout(100);
  }
  await message(page, "Chapter 1").waitFor();
  await page.getByText("This is the beginning of Long story.").waitFor();
  await page.getByRole("button", { name: "Jump to the latest message" }).click();
  await message(page, "Chapter 120").waitFor();
  writer.assertClean();
  assertClean();
});

/** Scrolls close to the top, waits until more is loaded, and measures how far a visible message moved. */
async function driftWhileLoading(scroller) {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  scroller.scrollTop = 400;
  await frame();
  await frame();
  const seen = [...scroller.querySelectorAll("article")].find(
    (row) => row.getBoundingClientRect().top > scroller.getBoundingClientRect().top + 100,
  );
  const label = seen.getAttribute("aria-label");
  const top = () => scroller.querySelector(`article[aria-label="${label}"]`)?.getBoundingClientRect().top;
  const [start, height] = [top(), scroller.scrollHeight];
  let movedBy = 0;
  const end = performance.now() + 3000;
  while (performance.now() < end) {
    await frame();
    movedBy = Math.max(movedBy, Math.abs((top() ?? Number.POSITIVE_INFINITY) - start));
  }
  return { movedBy, grewBy: scroller.scrollHeight - height };
}

test("an invitation goes out even where the keys of earlier messages cannot be handed over", async () => {
  const alice = await newPage(browser, ONE);
  const bob = await newPage(browser, ONE);
  await signUp(alice.page, freshName("alice"));
  const { userId: bobId } = await signUp(bob.page, freshName("bob"));
  await createRoom(alice.page, "Archive");
  await send(alice.page, "before Bob");
  await sentMessage(alice.page, "before Bob").waitFor();
  await alice.context.route("**/_matrix/media/**", (route) =>
    route.fulfill({ status: 404, json: { errcode: "M_UNRECOGNIZED", error: "No media here" } }),
  );
  await invite(alice.page, bobId);
  await bob.page.getByRole("button", { name: "Accept" }).click();
  await bob.page.getByRole("heading", { level: 1, name: "Archive" }).waitFor();
  await bob.page.getByText(/^(Sent before|This message cannot be read)/).waitFor();
  await send(alice.page, "after Bob");
  await message(bob.page, "after Bob").waitFor();
  await picture(bob.page, "before-joining");
  alice.assertClean();
  bob.assertClean();
});
