/** Where a room lives in the address bar. */
export function roomPath(roomId: string): string {
  return `/room/${encodeURIComponent(roomId)}`;
}

export function membersPath(roomId: string): string {
  return `${roomPath(roomId)}/members`;
}
