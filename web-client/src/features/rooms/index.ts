export { CreateRoomDialog } from "./CreateRoomDialog";
export { RoomList } from "./RoomList";
export { RoomPage } from "./RoomPage";
