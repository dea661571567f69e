import { createEvent, fireEvent, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import type { RoomSummary, RoomView } from "../../core/types";
import { useDrafts } from "../../store/drafts";
import { Composer } from "./Composer";

const room: RoomSummary = {
  roomId: "!room:one.test",
  name: "Garden",
  topic: undefined,
  membership: "join",
  inviter: undefined,
  isEncrypted: true,
  unreadCount: 0,
  canInvite: true,
  canSend: true,
  lastMessage: undefined,
  lastActivityMs: 0,
};
const send = vi.fn();
const view = { send } as unknown as RoomView;

beforeEach(() => {
  send.mockClear();
  useDrafts.setState({ byRoom: {} });
});

test("Enter sends and clears, Shift and Enter starts a new line", async () => {
  render(<Composer room={room} view={view} />);
  const input = screen.getByRole("textbox", { name: "Message to Garden" });
  await userEvent.type(input, "one{Shift>}{Enter}{/Shift}two{Enter}");
  expect(send).toHaveBeenCalledExactlyOnceWith("one\ntwo");
  expect(input).toHaveProperty("value", "");
});

test("nothing but spaces is not sent", async () => {
  render(<Composer room={room} view={view} />);
  await userEvent.type(screen.getByRole("textbox"), "   {Enter}");
  expect(send).not.toHaveBeenCalled();
});

test("Enter that ends a composed word does not send", async () => {
  render(<Composer room={room} view={view} />);
  const input = screen.getByRole("textbox");
  await userEvent.type(input, "漢字");
  const enter = createEvent.keyDown(input, { key: "Enter", isComposing: true });
  fireEvent(input, enter);
  expect(send).not.toHaveBeenCalled();
});

test("a draft survives leaving the room", async () => {
  const first = render(<Composer room={room} view={view} />);
  await userEvent.type(screen.getByRole("textbox"), "half a tho");
  first.unmount();
  render(<Composer room={room} view={view} />);
  expect(screen.getByRole("textbox")).toHaveProperty("value", "half a tho");
});

test("who may not write is told so", () => {
  render(<Composer room={{ ...room, canSend: false }} view={view} />);
  expect(screen.queryByRole("textbox")).toBeNull();
  screen.getByText("You may not write in this room.");
});
