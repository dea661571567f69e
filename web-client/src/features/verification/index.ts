export { IdentityBanner } from "./IdentityBanner";
