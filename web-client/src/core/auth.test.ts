import { afterEach, expect, test, vi } from "vitest";
import { registrationTerms, serverName, signIn, signUp } from "./auth";

const SESSION = { user_id: "@alice:one.test", device_id: "D", access_token: "T" };
const CREDENTIALS = { userId: "@alice:one.test", deviceId: "D", accessToken: "T" };
const ACCOUNT = { username: "alice", password: "correct horse", token: undefined };

type Reply = readonly [status: number, body: unknown];

/** A homeserver that gives these answers one after the other; the requests are what it was asked. */
function server(...replies: readonly Reply[]): readonly Record<string, unknown>[] {
  const asked: Record<string, unknown>[] = [];
  const waiting = [...replies];
  vi.stubGlobal("fetch", (_path: string, init: RequestInit) => {
    asked.push(typeof init.body === "string" ? JSON.parse(init.body) : {});
    const [status, body] = waiting.shift() ?? [500, {}];
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  });
  return asked;
}

const uia = (...flows: readonly string[][]): Reply => [
  401,
  { session: "S", flows: flows.map((stages) => ({ stages })), params: {} },
];

afterEach(() => vi.unstubAllGlobals());

test("signing in answers the credentials", async () => {
  server([200, SESSION]);
  await expect(signIn("alice", "correct horse")).resolves.toEqual(CREDENTIALS);
});

test.each([
  [403, { errcode: "M_FORBIDDEN" }, { kind: "wrongPassword" }],
  [403, { errcode: "M_USER_DEACTIVATED" }, { kind: "accountSuspended" }],
  [429, { errcode: "M_LIMIT_EXCEEDED", retry_after_ms: 1500 }, { kind: "tooMany", retryAfterMs: 1500 }],
  [500, { error: "Oh no" }, { kind: "unexpected", detail: "Oh no" }],
  [502, undefined, { kind: "offline" }],
  [200, { user_id: "@a:b" }, { kind: "unexpected" }],
])("a sign-in answered with %i %j has the problem %j", async (status, body, problem) => {
  server([status, body]);
  await expect(signIn("alice", "x")).rejects.toMatchObject({ problem });
});

test("no answer at all means offline", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  await expect(signIn("alice", "x")).rejects.toMatchObject({ problem: { kind: "offline" } });
});

test("signing up passes the dummy stage in the session of the first answer", async () => {
  const asked = server(uia(["m.login.dummy"]), [200, SESSION]);
  await expect(signUp(ACCOUNT)).resolves.toEqual(CREDENTIALS);
  expect(asked[1]).toMatchObject({ username: "alice", auth: { type: "m.login.dummy", session: "S" } });
});

test("signing up prefers the shortest flow and passes its stages in order", async () => {
  const asked = server(
    uia(["m.login.email.identity"], ["m.login.registration_token", "m.login.dummy"]),
    [401, { session: "S", completed: ["m.login.registration_token"], flows: [] }],
    [200, SESSION],
  );
  await signUp({ ...ACCOUNT, token: "seed" });
  expect(asked[1]?.["auth"]).toEqual({ type: "m.login.registration_token", session: "S", token: "seed" });
  expect(asked[2]?.["auth"]).toEqual({ type: "m.login.dummy", session: "S" });
});

test.each([
  ["a taken name", [[400, { errcode: "M_USER_IN_USE" }]], "nameTaken"],
  ["closed registration", [[403, { errcode: "M_FORBIDDEN" }]], "registrationClosed"],
  ["a server without registration", [[404, { errcode: "M_UNRECOGNIZED" }]], "registrationClosed"],
  ["a captcha", [uia(["m.login.recaptcha"])], "unsupportedStages"],
  [
    "a wrong token",
    [uia(["m.login.registration_token"]), [401, { errcode: "M_UNAUTHORIZED", session: "S" }]],
    "tokenRejected",
  ],
] as const)("signing up against %s", async (_case, replies, kind) => {
  server(...replies);
  await expect(signUp(ACCOUNT)).rejects.toMatchObject({ problem: { kind } });
});

test("the terms say whether a token is needed", async () => {
  server(uia(["m.login.registration_token"]), uia(["m.login.dummy"]));
  await expect(registrationTerms()).resolves.toEqual({ needsToken: true });
  await expect(registrationTerms()).resolves.toEqual({ needsToken: false });
});

test("the server's name is what it signs with, where it tells", async () => {
  server([200, { server_name: "one.test" }], [404, { errcode: "M_UNRECOGNIZED" }]);
  await expect(serverName()).resolves.toBe("one.test");
  await expect(serverName()).resolves.toBeUndefined();
});
