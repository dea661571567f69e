import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { freshName, launch, newPage, ONE, picture, TWO } from "./browser.mjs";
import { api, createRoom, invite, message, send, signUp } from "./steps.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("two people on two servers talk, and their servers see ciphertext only", async () => {
  const alice = await newPage(browser, ONE);
  const bob = await newPage(browser, TWO);
  await signUp(alice.page, freshName("alice"));
  const { userId: bobId } = await signUp(bob.page, freshName("bob"));

  const roomId = await createRoom(alice.page, "Bridge");
  await invite(alice.page, bobId);
  await bob.page.getByRole("listitem").filter({ hasText: "Bridge" }).waitFor();
  await picture(bob.page, "invited");
  await bob.page.getByRole("button", { name: "Accept" }).click();
  await bob.page.getByRole("heading", { level: 1, name: "Bridge" }).waitFor();
  await alice.page
    .getByText(/joined$/)
    .first()
    .waitFor();

  await send(alice.page, "Can you read this, Bob?");
  await message(bob.page, "Can you read this, Bob?").waitFor();
  await send(bob.page, "Word for word, Alice.");
  await message(alice.page, "Word for word, Alice.").waitFor();
  await send(alice.page, "Then we are connected.");
  await message(bob.page, "Then we are connected.").waitFor();
  await picture(alice.page, "talk");

  for (const { page } of [alice, bob]) {
    const { chunk } = await api(page, `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`);
    const sent = chunk.filter(({ type }) => type === "m.room.encrypted");
    assert.equal(sent.length, 3);
    assert.ok(
      sent.every(({ content }) => content.algorithm === "m.megolm.v1.aes-sha2" && content.ciphertext),
    );
    assert.equal(chunk.filter(({ type }) => type === "m.room.message").length, 0);
  }

  await bob.page.reload();
  await message(bob.page, "Can you read this, Bob?").waitFor();
  await message(bob.page, "Then we are connected.").waitFor();
  alice.assertClean();
  bob.assertClean();
});

test("a room one is not looking at counts its unread messages until it is opened", async () => {
  const alice = await newPage(browser, ONE);
  const bob = await newPage(browser, TWO);
  await signUp(alice.page, freshName("alice"));
  const { userId: bobId } = await signUp(bob.page, freshName("bob"));
  await createRoom(alice.page, "Notice board");
  await invite(alice.page, bobId);
  await bob.page.getByRole("button", { name: "Accept" }).click();
  await bob.page.getByRole("heading", { level: 1, name: "Notice board" }).waitFor();
  await bob.page.goto("/");
  await bob.page.getByRole("link", { name: /Notice board/ }).waitFor();

  await send(alice.page, "one");
  await send(alice.page, "two");
  await bob.page.getByRole("link", { name: /2 unread messages/ }).click();
  await message(bob.page, "two").waitFor();
  await bob.page.getByRole("link", { name: /unread messages/ }).waitFor({ state: "detached" });
  await bob.page.reload();
  await message(bob.page, "two").waitFor();
  assert.equal(await bob.page.getByRole("link", { name: /unread messages/ }).count(), 0);
  alice.assertClean();
  bob.assertClean();
});

test("an invitation from another server can be declined", async () => {
  const alice = await newPage(browser, ONE);
  const bob = await newPage(browser, TWO);
  await signUp(alice.page, freshName("alice"));
  const { userId: bobId } = await signUp(bob.page, freshName("bob"));
  await createRoom(alice.page, "Not today");
  await invite(alice.page, bobId);
  await bob.page.getByRole("button", { name: "Decline" }).click();
  await bob.page.getByText("No rooms yet").waitFor();
  await alice.page.getByText(/declined the invitation$/).waitFor();
  alice.assertClean();
  bob.assertClean();
});
