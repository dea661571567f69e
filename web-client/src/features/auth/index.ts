export { LoginPage } from "./LoginPage";
export { RegisterPage } from "./RegisterPage";
export { PasswordField } from "./PasswordField";
