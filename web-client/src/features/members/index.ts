export { MemberPanel } from "./MemberPanel";
