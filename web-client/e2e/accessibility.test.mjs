import { after, before, test } from "node:test";
import { assertAccessible, freshName, launch, newPage, ONE, picture } from "./browser.mjs";
import { createRoom, send, sentMessage, signUp } from "./steps.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

for (const [layout, options] of [
  ["desktop", {}],
  ["phone", PHONE],
]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`no page has an accessibility violation (${layout}, ${colorScheme})`, async () => {
      const { page, assertClean } = await newPage(browser, ONE, { ...options, colorScheme });
      const look = async (name) => {
        await picture(page, `${layout}-${colorScheme}-${name}`);
        await assertAccessible(page, name);
      };
      await page.goto("/login");
      await page.getByRole("heading", { name: "Welcome back" }).waitFor();
      await look("login");
      await page.goto("/register");
      await page.getByRole("heading", { name: "Create your account" }).waitFor();
      await look("register");
      await signUp(page, freshName("ada"));
      await look("home");
      await page.getByRole("button", { name: /^Your account/ }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).waitFor();
      await look("menu");
      await page.keyboard.press("Escape");
      await page.getByRole("navigation").getByRole("button", { name: "New room" }).click();
      await page.getByRole("dialog").waitFor();
      await look("create-room");
      await page.keyboard.press("Escape");
      await createRoom(page, "Reading circle");
      await send(page, "What shall we read in winter?\nSomething long, I hope.");
      await send(page, "I found https://example.org/books and liked it.");
      await page.getByRole("article").getByRole("link", { name: "https://example.org/books" }).waitFor();
      await sentMessage(page, "What shall we read in winter?\nSomething long, I hope.").waitFor();
      await look("room");
      await page.getByRole("button", { name: "Show people" }).click();
      await page.getByRole("complementary", { name: "People" }).waitFor();
      await look("people");
      await page.goto("/nowhere");
      await page.getByRole("heading", { name: "Nothing here" }).waitFor();
      await look("not-found");
      assertClean();
    });
  }
}
