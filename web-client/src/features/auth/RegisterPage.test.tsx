import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { Tooltip } from "radix-ui";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test, vi } from "vitest";
import { RegisterPage } from "./RegisterPage";

vi.mock("../../core/start", () => ({
  preloadCore: () => undefined,
  startCore: () => new Promise(() => undefined),
  forgetSession: () => Promise.resolve(),
}));

type Reply = readonly [status: number, body: unknown];

function open(register: () => Reply): void {
  vi.stubGlobal("fetch", (path: string) => {
    const [status, body] = path.endsWith("/register") ? register() : [200, { server_name: "one.test" }];
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  });
  render(
    <MemoryRouter>
      <Tooltip.Provider>
        <RegisterPage />
      </Tooltip.Provider>
    </MemoryRouter>,
  );
}

const stages = (...names: readonly string[]): Reply => [401, { session: "S", flows: [{ stages: names }] }];

afterEach(() => vi.unstubAllGlobals());

test("the token is asked for only where the server wants one", async () => {
  open(() => stages("m.login.registration_token"));
  await screen.findByLabelText("Registration token");
});

test("a server without open registration is named as such", async () => {
  open(() => [403, { errcode: "M_FORBIDDEN" }]);
  await screen.findByText("This server does not accept new accounts. Ask its administrator for one.");
});

test.each([
  ["", "correct horse", "Enter your username."],
  ["al ice!", "correct horse", "Use small letters, digits and . _ = - / + only."],
  ["alice", "short", "Use at least 8 characters."],
])("name %j with password %j is refused before it is sent", async (name, password, mistake) => {
  open(() => stages("m.login.dummy"));
  if (name !== "") await userEvent.type(screen.getByLabelText("Username"), name);
  await userEvent.type(screen.getByLabelText("Password"), password);
  await userEvent.click(screen.getByRole("button", { name: "Create account" }));
  await screen.findByText(mistake);
});

test("a taken name is reported beside the name", async () => {
  let isSent = false;
  open(() => (isSent ? [400, { errcode: "M_USER_IN_USE" }] : stages("m.login.dummy")));
  const name = screen.getByLabelText("Username");
  await userEvent.type(name, "alice");
  await userEvent.type(screen.getByLabelText("Password"), "correct horse");
  await screen.findByText("You will be @alice:one.test");
  isSent = true;
  await userEvent.click(screen.getByRole("button", { name: "Create account" }));
  await screen.findByText("This name is taken. Choose another one.");
  expect(name.getAttribute("aria-invalid")).toBe("true");
});
