// What people do in the stories, by the names they see on the page.
const PASSWORD = "correct horse battery staple";

/** Signs up and waits for the workspace; answers the session the browser keeps. */
export async function signUp(page, name) {
  await page.goto("/register");
  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("button", { name: /^Your account/ }).waitFor();
  return session(page);
}

export async function signIn(page, name) {
  await page.goto("/login");
  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: /^Your account/ }).waitFor();
  return session(page);
}

export async function signOut(page) {
  await page.getByRole("button", { name: /^Your account/ }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
}

export async function session(page) {
  return JSON.parse(await page.evaluate(() => localStorage.getItem("hearth.session")));
}

/** Creates a room with the defaults of the dialog; answers its id. */
export async function createRoom(page, name) {
  await page.getByRole("navigation", { name: "Rooms" }).getByRole("button", { name: "New room" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Create room" }).click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
  return decodeURIComponent(new URL(page.url()).pathname.split("/")[2]);
}

export async function send(page, text) {
  await page.getByRole("textbox", { name: /^Message to/ }).fill(text);
  await page.keyboard.press("Enter");
}

/** The row of a message with exactly this text, once the server has it. */
export function sentMessage(page, text) {
  return message(page, text).filter({ hasNotText: /Sending…|Not sent/ });
}

/** The row of a message with exactly this text. */
export function message(page, text) {
  return page.getByRole("article").filter({ has: page.getByText(text, { exact: true }) });
}

export async function invite(page, userId) {
  await page.getByRole("button", { name: "Invite people" }).click();
  await page.getByLabel("User id").fill(userId);
  await page.getByRole("button", { name: "Send invitation" }).click();
  await page.getByText(`Invited ${userId}`, { exact: true }).waitFor();
}

/** Calls the client-server API as the person of this session. */
export async function api(page, path) {
  const { accessToken } = await session(page);
  return page.evaluate(
    async ([url, token]) => {
      const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
      return response.json();
    },
    [`/_matrix/client/v3${path}`, accessToken],
  );
}
